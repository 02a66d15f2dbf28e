// A lineage: percent of base from stage to stage, the paper's as hollow marks on a dotted line.
const STAGES = ["base", "SFT", "DPO", "RL"];

class StageChart {
  constructor(figure, chart) {
    Object.assign(this, { chart, holder: figure.querySelector(".plot"), place: null });
    onWidth(this.holder, () => this.draw());
  }

  draw() {
    const width = Math.max(180, this.holder.clientWidth), height = 220, box = { left: 40, right: width - 14, top: 12, bottom: height - 24 };
    const { lines } = this.chart;
    const high = Math.max(100, ...lines.flatMap((line) => [...line.y, line.interval[1], ...(line.paper?.y ?? [])]).filter(known)) * 1.05;
    const x = (place) => box.left + 8 + (place / 3) * (box.right - box.left - 16);
    const y = (value) => box.bottom - (value / high) * (box.bottom - box.top);
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "slider",
      "aria-label": `${this.chart.title}, percent of the base by stage`, "aria-orientation": "horizontal",
      "aria-valuemin": 0, "aria-valuemax": 3, "aria-valuenow": 3, "aria-valuetext": this.words(3).join("; ") });
    for (const value of ticks(0, high, 4)) {
      root.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
        svg("text", { x: box.left - 6, y: y(value) + 3.5, "text-anchor": "end" }, `${value}%`));
    }
    root.append(svg("line", { class: "base", x1: box.left, x2: box.right, y1: y(100), y2: y(100) }));
    STAGES.forEach((stage, place) => root.append(svg("text", { x: x(place), y: height - 8, "text-anchor": "middle" }, stage)));
    for (const line of lines) {
      const style = styleClass(line.style);
      if (line.paper) {
        root.append(svg("path", { class: `curve ${style}`, "stroke-width": 1, "stroke-dasharray": "1 4", d: pieces(line.paper, line.paper.y, x, y) }));
        line.paper.x.forEach((at, n) => root.append(svg("path", { class: `hollow ${style}`, d: markerPath(line.style, x(at), y(line.paper.y[n]), 3.4) })));
      }
      root.append(svg("path", { class: `curve ${style}`, d: pieces(line, line.y, x, y), "stroke-dasharray": dashOf(line.style, false) }));
      const [low, top] = line.interval, end = x(line.x.at(-1));
      if (known(low) && known(top)) root.append(svg("line", { class: `curve ${style}`, x1: end, x2: end, y1: y(low), y2: y(top) }));
      line.x.forEach((at, n) => { if (known(line.y[n])) root.append(svg("path", { class: `mark ${style}`, d: markerPath(line.style, x(at), y(line.y[n]), 4) })); });
    }
    root.append((this.cursor = svg("line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" })));
    const choose = (place) => {
      this.place = place;
      const words = this.words(place);
      root.setAttribute("aria-valuenow", place);
      root.setAttribute("aria-valuetext", words.join("; "));
      this.cursor.setAttribute("visibility", "visible");
      for (const name of ["x1", "x2"]) this.cursor.setAttribute(name, x(place));
      showTip(this.holder, x(place), box.top, words);
    };
    const leave = () => { this.place = null; hideTip(this.holder); this.cursor.setAttribute("visibility", "hidden"); };
    const nearest = (left) => clamp(Math.round(((left - x(0)) / (x(3) - x(0))) * 3), 0, 3);
    slides(root, { chart: this, last: 3, start: 3, nearest, choose, leave });
    this.holder.replaceChildren(root);
  }

  words(place) {
    const said = [STAGES[place]];
    for (const line of this.chart.lines) {
      const at = line.x.indexOf(place), beside = line.paper ? line.paper.x.indexOf(place) : -1;
      if (at < 0) continue;
      const last = at === line.x.length - 1 && known(line.interval[0]);
      const bounds = last ? ` [${Math.round(line.interval[0])}, ${Math.round(line.interval[1])}]` : "";
      said.push(`${line.name}: ${known(line.y[at]) ? Math.round(line.y[at]) + "%" : "–"}${bounds}${beside >= 0 && place ? ` (the paper ${Math.round(line.paper.y[beside])}%)` : ""}`);
    }
    return said;
  }
}

function startStages(data) {
  for (const figure of document.querySelectorAll("figure[data-stages]")) {
    new StageChart(figure, data.stages.find((chart) => chart.id === figure.dataset.stages));
  }
}
