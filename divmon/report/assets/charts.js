// Charts over steps, or of values side by side where there are none. A chart is a slider: arrow keys walk along the steps and the value is read out.
const DASHES = ["", "7 4", "2 4", "9 3 2 3", "", "5 3", "3 3"];
const COLOURS = 7;

function markerPath(style, x, y, size) {
  const s = size;
  switch (style % 5) {
    case 0: return `M${x - s},${y}a${s},${s} 0 1,0 ${2 * s},0a${s},${s} 0 1,0 ${-2 * s},0`;
    case 1: return `M${x - s},${y - s}h${2 * s}v${2 * s}h${-2 * s}z`;
    case 2: return `M${x},${y - s * 1.25}l${s * 1.2},${s * 2.1}h${-2.4 * s}z`;
    case 3: return `M${x},${y - s * 1.4}l${s * 1.4},${s * 1.4}l${-s * 1.4},${s * 1.4}l${-s * 1.4},${-s * 1.4}z`;
    default: return `M${x},${y + s * 1.25}l${s * 1.2},${-s * 2.1}h${-2.4 * s}z`;
  }
}

const styleClass = (style) => `s${style % COLOURS}`;
const dashOf = (style, alone) => (alone ? null : DASHES[Math.floor(style / COLOURS + (style % COLOURS)) % DASHES.length] || null);

// Paths of a broken line: a new one begins wherever a value is missing.
function pieces(line, values, x, y) {
  let path = "", open = false;
  line.x.forEach((step, place) => {
    const value = values[place];
    if (!known(value)) { open = false; return; }
    path += `${open ? "L" : "M"}${x(step).toFixed(1)},${y(value).toFixed(1)}`;
    open = true;
  });
  return path;
}

function bandPath(line, x, y) {
  let path = "", run = [];
  const close = () => {
    if (run.length > 1) {
      path += "M" + run.map((p) => `${x(line.x[p]).toFixed(1)},${y(line.high[p]).toFixed(1)}`).join("L");
      path += "L" + run.reverse().map((p) => `${x(line.x[p]).toFixed(1)},${y(line.low[p]).toFixed(1)}`).join("L") + "z";
    } else if (run.length === 1) {
      const [p] = run, at = x(line.x[p]);
      path += `M${at - 3},${y(line.high[p])}h6V${y(line.low[p])}h-6z`;
    }
    run = [];
  };
  line.x.forEach((_, place) => (known(line.low[place]) && known(line.high[place]) ? run.push(place) : close()));
  close();
  return path;
}

// Intervals as bars with ends.
function whiskers(line, x, y) {
  return line.x.map((at, place) => {
    const low = line.low[place], high = line.high[place];
    return known(low) && known(high) ? `M${x(at)},${y(low)}V${y(high)}M${x(at) - 4},${y(low)}h8M${x(at) - 4},${y(high)}h8` : "";
  }).join("");
}

// Labels at the right end, moved apart where they would cover each other.
function placed(levels, y, top, bottom) {
  const labels = levels.map((level) => ({ ...level, at: y(level.y) })).sort((a, b) => a.at - b.at);
  labels.forEach((label, n) => { if (n) label.at = Math.max(label.at, labels[n - 1].at + 11); });
  for (let n = labels.length - 1; n >= 0; n--) {
    const limit = n === labels.length - 1 ? bottom : labels[n + 1].at - 11;
    labels[n].at = clamp(labels[n].at, top, limit);
  }
  return labels;
}

class StepChart {
  constructor(figure, chart, page) {
    Object.assign(this, { figure, chart, page, holder: figure.querySelector(".plot"), place: null });
    onWidth(this.holder, () => this.draw());
  }

  get view() {
    return this.chart.views[this.page.view] ?? this.chart.views.values;
  }

  draw() {
    const { view, chart } = this, lines = view.lines.filter((line) => line.y.some(known));
    this.holder.replaceChildren();
    if (!lines.length) {
      this.holder.append(el("p", { class: "none" }, "Nothing to draw: it was not measured."));
      return;
    }
    const levels = view.levels?.[this.page.levels] ?? [];
    const width = Math.max(200, this.holder.clientWidth), height = 208;
    this.steps = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
    const events = chart.names.length ? [] : chart.events ?? [];
    const [low, high] = this.range(view, lines, levels);
    const marks = ticks(low, high, 4).filter((value) => value <= high);
    const names = tickNames(marks, view.unit), left = 11 + 6.8 * Math.max(...names.map((name) => name.length));
    const box = { left, right: width - (levels.length ? 10 + 6.9 * Math.max(...levels.map((level) => `${level.label} ${written(level.y, view.unit)}`.length)) : 10), top: 12, bottom: height - 24 };
    const first = Math.min(this.steps[0], ...events.map((event) => event.x));
    const last = Math.max(this.steps.at(-1), ...events.map((event) => event.x));
    const apart = chart.names.length > 0, room = (box.right - box.left) / this.steps.length;
    const x = (step) => apart ? box.left + (this.steps.indexOf(step) + 0.5) * room : (first === last ? (box.left + box.right) / 2 : box.left + ((step - first) / (last - first)) * (box.right - box.left));
    const y = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    Object.assign(this, { lines, x, y, box, events, levels });

    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "slider",
      "aria-label": apart ? `${chart.title} side by side` : `${chart.title} over steps`, "aria-orientation": "horizontal",
      "aria-valuemin": this.steps[0], "aria-valuemax": this.steps.at(-1), "aria-valuenow": this.steps.at(-1),
      "aria-valuetext": this.words(this.steps.length - 1).join("; ") });
    for (const [place, value] of marks.entries()) {
      root.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
        svg("text", { x: box.left - 6, y: y(value) + 3.5, "text-anchor": "end" }, names[place]));
    }
    root.append(svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
    for (const step of apart ? this.steps : []) {
      const name = chart.names[step], most = Math.max(3, Math.floor(room / 6.4));
      const shown = name.length > most ? [`${name.slice(0, most - 1)}…`, svg("title", {}, name)] : [name];
      root.append(svg("text", { x: x(step), y: height - 8, "text-anchor": "middle" }, ...shown));
    }
    for (const step of apart ? [] : ticks(first, last, Math.max(2, Math.floor((box.right - box.left) / 70))).filter(Number.isInteger)) {
      if (step < first || step > last) continue;
      root.append(svg("text", { x: x(step), y: height - 8, "text-anchor": "middle" }, step.toLocaleString("en-US")));
    }
    for (const label of placed(levels, y, box.top, box.bottom)) {
      root.append(svg("line", { class: "level", x1: box.left, x2: box.right, y1: y(label.y), y2: y(label.y) }),
        svg("text", { x: box.right + 5, y: label.at + 3.5 }, `${label.label} ${written(label.y, view.unit)}`));
    }
    for (const line of lines) if (line.low.length) root.append(apart ? svg("path", { class: `curve ${styleClass(line.style)}`, d: whiskers(line, x, y) }) : svg("path", { class: `band ${styleClass(line.style)}`, d: bandPath(line, x, y) }));
    for (const value of new Set(lines.map((line) => line.baseline).filter(known))) {
      root.append(svg("line", { class: "base", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }));
    }
    this.drawEvents(root);
    for (const line of lines) {
      const alone = lines.length === 1;
      root.append(svg("path", { class: `curve ${styleClass(line.style)}`, d: pieces(line, line.y, x, y), "stroke-dasharray": dashOf(line.style, alone) }));
      if (line.x.length <= 40) {
        line.x.forEach((step, place) => {
          if (known(line.y[place])) root.append(svg("path", { class: `mark ${styleClass(line.style)}`, d: markerPath(line.style, x(step), y(line.y[place]), 3.4) }));
        });
      }
    }
    root.append((this.cursor = svg("line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" })));
    const end = this.steps.length - 1;
    slides(root, {
      chart: this, last: end, start: end + 1,
      nearest: (left) => least(this.steps.map((step) => Math.abs(x(step) - left))),
      choose: (place) => this.choose(place), leave: () => this.leave(),
    });
    this.root = root;
    this.holder.append(root);
  }

  range(view, lines, levels) {
    const values = lines.flatMap((line) => [...line.y, ...line.low, ...line.high, line.baseline]).concat(levels.map((level) => level.y)).filter(known);
    let low = Math.min(...values), high = Math.max(...values);
    if (view.unit === "percent" && this.chart.views.kept) high = Math.max(high, 1);
    if (known(view.floor)) low = Math.min(view.floor, low);
    else low -= (high - low) * 0.1 || 0.5;
    if (high - low < 1e-9) high = low + 1;
    return [low, high + (high - low) * 0.05];
  }

  drawEvents(root) {
    const { x, box } = this;
    for (const event of this.events) {
      const at = x(event.x);
      if (event.kind === "gap") {
        root.append(svg("path", { class: "gap", d: `M${at - 4},${box.bottom - 4}l8,8m0,-8l-8,8` }, svg("title", {}, event.label)));
        continue;
      }
      const sign = event.kind === "rot" ? markerPath(3, at, box.top - 4, 4) : markerPath(4, at, box.top - 4, 4.2);
      root.append(svg("line", { class: "event", x1: at, x2: at, y1: box.top, y2: box.bottom }), svg("path", { class: "sign", d: sign }, svg("title", {}, event.label)));
    }
  }

  words(place) {
    const step = this.steps[place], { unit } = this.view;
    const apart = this.chart.names.length > 0, said = [apart ? this.chart.names[step] : `step ${step.toLocaleString("en-US")}`];
    for (const line of this.lines) {
      const at = line.x.indexOf(step);
      if (at < 0) continue;
      const whose = this.lines.length > 1 && !apart ? `${line.name}: ` : "";
      const bounds = known(line.low[at]) && known(line.high[at]) ? `, 95% interval ${written(line.low[at], unit)} to ${written(line.high[at], unit)}` : "";
      said.push(`${whose}${written(line.y[at], unit)}${known(line.y[at]) ? bounds : " (not measured)"}`);
    }
    for (const event of this.events) if (event.x === step) said.push(event.label);
    return said;
  }

  choose(place) {
    this.place = place;
    const step = this.steps[place], words = this.words(place);
    this.root.setAttribute("aria-valuenow", step);
    this.root.setAttribute("aria-valuetext", words.join("; "));
    this.page.mark(step);
    showTip(this.holder, this.x(step), this.box.top, words);
  }

  leave() {
    this.place = null;
    hideTip(this.holder);
    this.page.mark(null);
  }

  mark(step) {
    if (!this.cursor) return;
    const here = step !== null && this.steps.includes(step);
    this.cursor.setAttribute("visibility", here ? "visible" : "hidden");
    if (here) for (const name of ["x1", "x2"]) this.cursor.setAttribute(name, this.x(step));
  }
}

function startCharts(data) {
  const page = { view: "kept", levels: byId("levels")?.value ?? "", all: [], mark(step) { this.all.forEach((chart) => chart.mark(step)); } };
  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    page.all.push(new StepChart(figure, data.charts[figure.dataset.chart], page));
  }
  const redraw = () => page.all.forEach((chart) => chart.draw());
  for (const radio of document.querySelectorAll("input[name=view]")) {
    radio.addEventListener("change", () => { page.view = radio.value; redraw(); });
  }
  byId("levels")?.addEventListener("change", (event) => { page.levels = event.target.value; redraw(); });
  window.addEventListener("beforeprint", redraw);
}

// Samples of lines and signs beside the words that explain them.
function drawSamples() {
  for (const holder of document.querySelectorAll("svg[data-sample]")) {
    const kind = holder.dataset.sample, style = Number(kind);
    const line = (attributes) => svg("line", { x1: 0, x2: 34, y1: 6, y2: 6, ...attributes });
    if (!Number.isNaN(style)) {
      const alone = holder.hasAttribute("data-alone");
      holder.append(line({ class: `curve ${styleClass(style)}`, "stroke-dasharray": dashOf(style, alone) }), svg("path", { class: `mark ${styleClass(style)}`, d: markerPath(style, 17, 6, 3.8) }));
    } else if (kind.startsWith("shape-")) holder.append(svg("path", { class: "hollow s6", d: markerPath(Number(kind.slice(6)), 17, 6, 4) }));
    else if (kind.startsWith("point-")) holder.append(svg("rect", { class: `mark ${styleClass(Number(kind.slice(6)))}`, x: 11, y: 0, width: 12, height: 12, rx: 2 }));
    else if (kind === "base" || kind === "level") holder.append(line({ class: kind }));
    else if (kind === "whisker") holder.append(svg("path", { class: "curve s6", d: "M17,1V11M13,1h8M13,11h8" }));
    else if (kind === "band") holder.append(svg("rect", { class: "band s6", x: 0, y: 0, width: 34, height: 12 }));
    else if (kind === "paper") holder.append(line({ class: "curve s6", "stroke-dasharray": "1 4" }), svg("path", { class: "hollow s6", d: markerPath(0, 17, 6, 3.4) }));
    else if (kind === "gap") holder.append(svg("path", { class: "gap", d: "M13,2l8,8m0,-8l-8,8" }));
    else if (kind === "collapse") holder.append(svg("path", { class: "sign", d: markerPath(4, 17, 6, 4.4) }));
    else if (kind === "rot") holder.append(svg("path", { class: "sign", d: markerPath(3, 17, 6, 4.2) }));
  }
}
