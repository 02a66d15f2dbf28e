// Points of a model and a task. The chart is a slider: arrow keys walk from left to right and each point is read out.
class Scatter {
  constructor(figure, chart) {
    Object.assign(this, { chart, holder: figure.querySelector(".plot"), place: null });
    onWidth(this.holder, () => this.draw());
  }

  draw() {
    const { points } = this.chart, last = points.length - 1;
    const width = Math.max(200, this.holder.clientWidth), height = 300;
    const xs = points.map((point) => point.x), ys = points.map((point) => 100 * point.y);
    const right = Math.max(...xs) * 1.06 || 1, left = Math.min(0, ...xs);
    const low = Math.min(0, ...ys), high = (Math.max(...ys) - low) * 1.08 + low || 1;
    const marks = ticks(low, high, 5), names = tickNames(marks, "number").map((name, place) => (marks[place] > 0 ? `+${name}` : name));
    const box = { left: 14 + 6.8 * Math.max(...names.map((name) => name.length)), right: width - 12, top: 12, bottom: height - 40 };
    const x = (value) => box.left + ((value - left) / (right - left)) * (box.right - box.left);
    const y = (value) => box.bottom - ((100 * value - low) / (high - low)) * (box.bottom - box.top);
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "slider",
      "aria-label": "Gain of a majority vote by diversity of right answers", "aria-orientation": "horizontal",
      "aria-valuemin": 0, "aria-valuemax": last, "aria-valuenow": 0, "aria-valuetext": this.words(0).join("; ") });
    marks.forEach((value, place) => root.append(
      svg("line", { class: value === 0 ? "axis" : "grid", x1: box.left, x2: box.right, y1: y(value / 100), y2: y(value / 100) }),
      svg("text", { x: box.left - 6, y: y(value / 100) + 3.5, "text-anchor": "end" }, names[place])));
    root.append(svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
    const across = ticks(left, right, Math.max(2, Math.floor((box.right - box.left) / 80)));
    tickNames(across, "number").forEach((name, place) => root.append(svg("text", { x: x(across[place]), y: height - 24, "text-anchor": "middle" }, name)));
    root.append(svg("text", { x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle" }, "diversity of right answers, D_c"));
    // The paper's first, so that none of them covers a run's own.
    for (const own of [false, true]) {
      for (const point of points.filter((found) => known(found.style) === own)) {
        const look = own ? `mark ${styleClass(point.style)}` : "hollow s6";
        root.append(svg("path", { class: look, d: markerPath(point.shape, x(point.x), y(point.y), own ? 5.5 : 4) }));
      }
    }
    root.append((this.ring = svg("circle", { class: "pick", r: 9, visibility: "hidden" })));
    const choose = (place) => {
      this.place = place;
      const words = this.words(place), point = points[place];
      root.setAttribute("aria-valuenow", place);
      root.setAttribute("aria-valuetext", words.join("; "));
      this.ring.setAttribute("visibility", "visible");
      this.ring.setAttribute("cx", x(point.x));
      this.ring.setAttribute("cy", y(point.y));
      showTip(this.holder, x(point.x), y(point.y), words);
    };
    const leave = () => { this.place = null; hideTip(this.holder); this.ring.setAttribute("visibility", "hidden"); };
    const nearest = (left, top) => least(points.map((found) => Math.hypot(x(found.x) - left, y(found.y) - top)));
    slides(root, { chart: this, last, start: -1, nearest, choose, leave });
    this.holder.replaceChildren(root);
  }

  words(place) {
    const { name, task, x, y, k } = this.chart.points[place], gain = 100 * y;
    const points = `${gain >= 0 ? "+" : "−"}${Math.abs(gain).toFixed(1)}`;
    return [`${name}: ${task}`, `right answers differ by ${written(x, "number")}`, `the majority of ${k}: ${points} points over one answer`];
  }
}

function startScatter(data) {
  for (const figure of document.querySelectorAll("figure[data-scatter]")) new Scatter(figure, data[figure.dataset.scatter]);
}
