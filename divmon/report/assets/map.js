// The map of prompts over steps (or runs): one path a colour, however many cells.
const SHADES = 5;

class ChangeMap {
  constructor(prompts, open) {
    Object.assign(this, { prompts, open, holder: byId("map"), readout: byId("readout"), rows: [], cell: null });
    prompts.listeners.push((rows) => { this.rows = rows; this.cell = null; this.draw(); this.fillTable(); });
    onWidth(this.holder, () => this.draw());
    byId("map-table").addEventListener("toggle", () => this.fillTable());
    this.drawScale();
  }

  shade(row, column) {
    const share = this.prompts.share(this.prompts.metric, row, column);
    return known(share) ? clamp(Math.round(share * SHADES), -SHADES, SHADES) : "n";
  }

  draw() {
    const { rows, prompts } = this, columns = prompts.columns.length, width = Math.max(200, this.holder.clientWidth - 2);
    if (!rows.length) {
      this.holder.replaceChildren(el("p", { class: "none" }, "No prompt fits the filters."));
      this.readout.textContent = "";
      return;
    }
    const tall = rows.length <= 30 ? 19 : rows.length <= 130 ? 13 : rows.length <= 250 ? 6 : 4;
    const labels = tall >= 13 ? clamp(width - columns * 60, Math.min(300, Math.round(width * 0.4)), Math.round(width * 0.42)) : 0;
    const wide = Math.min((width - labels) / columns, 170), top = 20, height = rows.length * tall + 2;
    Object.assign(this, { tall, labels, wide, top });
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "application", "aria-roledescription": "map of changes",
      "aria-label": `Change of ${prompts.names[prompts.metric]} by prompt and ${prompts.over_runs ? "run" : "step"}: arrow keys move, Enter opens the prompt; a table of the same numbers follows` });
    const heading = svg("svg", { class: "top", viewBox: `0 0 ${width} ${top}`, width, height: top, "aria-hidden": "true" });
    const every = Math.max(1, Math.ceil((prompts.over_runs ? 60 : 44) / wide));
    prompts.columns.forEach((title, column) => {
      const fits = Math.floor((wide * every) / 6.2);
      const text = title.length > fits ? title.slice(0, Math.max(1, fits - 1)) + "…" : title;
      if (column % every === 0) heading.append(svg("text", { x: labels + (column + 0.5) * wide, y: 13, "text-anchor": "middle" }, text));
    });
    const gap = tall > 6 ? 1.5 : 0.4, side = wide > 8 ? 1.5 : 0.3, paths = new Map();
    rows.forEach((row, line) => {
      for (let column = 0; column < columns; column++) {
        const shade = this.shade(row, column);
        const cell = `M${(labels + column * wide).toFixed(1)},${(line * tall).toFixed(1)}h${(wide - side).toFixed(1)}v${(tall - gap).toFixed(1)}h${(side - wide).toFixed(1)}z`;
        paths.set(shade, (paths.get(shade) ?? "") + cell);
      }
      if (labels) {
        const most = Math.floor((labels - 10) / 6.7), text = prompts.label(row);
        root.append(svg("text", { class: "row-label", x: labels - 8, y: line * tall + tall / 2 + 3, "text-anchor": "end" },
          text.length > most ? text.slice(0, most) + "…" : text));
      }
    });
    for (const [shade, path] of paths) root.append(svg("path", { class: `b${shade}`, d: path }));
    root.append((this.pick = svg("rect", { class: "pick", width: wide - side, height: tall - gap, visibility: "hidden" })));
    root.addEventListener("pointermove", (event) => this.pointAt(event));
    root.addEventListener("pointerleave", () => this.leave());
    root.addEventListener("click", (event) => { this.pointAt(event, true); if (this.cell) this.open(this.rows[this.cell.line]); });
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("blur", () => this.leave());
    this.root = root;
    this.holder.replaceChildren(heading, root);
  }

  pointAt(event, anywhere) {
    const frame = this.root.getBoundingClientRect();
    const column = Math.floor((event.clientX - frame.left - this.labels) / this.wide);
    const line = Math.floor((event.clientY - frame.top) / this.tall);
    if (line < 0 || line >= this.rows.length || column >= this.prompts.columns.length || (column < 0 && !anywhere)) { this.leave(); return; }
    this.choose(line, Math.max(0, column), false);
  }

  key(event) {
    const { line, column } = this.cell ?? { line: 0, column: this.prompts.columns.length - 1 };
    if (event.key === "Escape") { this.leave(); return; }
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.open(this.rows[line]); return; }
    const to = { ArrowDown: [line + 1, column], ArrowUp: [line - 1, column], ArrowRight: [line, column + 1], ArrowLeft: [line, column - 1],
      Home: [line, 0], End: [line, this.prompts.columns.length - 1], PageDown: [line + 10, column], PageUp: [line - 10, column] }[event.key];
    if (!to) return;
    event.preventDefault();
    const [down, across] = this.cell ? to : [line, column];
    this.choose(clamp(down, 0, this.rows.length - 1), clamp(across, 0, this.prompts.columns.length - 1), true);
  }

  words(line, column) {
    const { prompts } = this, row = this.rows[line], { metric } = prompts;
    const label = prompts.label(row), now = prompts.value(metric, row, column), then = prompts.base(metric, row, column), change = prompts.change(metric, row, column);
    const where = prompts.over_runs ? prompts.columns[column] : `step ${prompts.columns[column]}`;
    const moved = known(change) ? `${written(then)} at the baseline, ${written(now)} now (${change > 0 ? "+" : ""}${written(change)})`
      : known(now) ? `${written(now)}; nothing to compare with` : "not measured";
    return [label.length > 160 ? label.slice(0, 160) + "…" : label, `${prompts.names[metric]}, ${where}: ${moved}`];
  }

  choose(line, column, scroll) {
    this.cell = { line, column };
    const x = this.labels + column * this.wide, y = line * this.tall, words = this.words(line, column);
    this.pick.setAttribute("x", x);
    this.pick.setAttribute("y", y);
    this.pick.setAttribute("visibility", "visible");
    this.readout.textContent = words.join(" · ");
    if (scroll) {
      const room = this.holder.clientHeight - this.top;
      if (y < this.holder.scrollTop) this.holder.scrollTop = y;
      else if (y + this.tall > this.holder.scrollTop + room) this.holder.scrollTop = y + this.tall - room;
    }
    showTip(this.holder, x + this.wide / 2, this.top + y + this.tall + 4, words);
  }

  leave() {
    this.pick?.setAttribute("visibility", "hidden");
    hideTip(this.holder);
  }

  drawScale() {
    const holder = byId("scale");
    for (let shade = -SHADES; shade <= SHADES; shade++) holder.append(svg("rect", { class: `b${shade}`, x: (shade + SHADES) * 15, y: 0, width: 14, height: 12 }));
  }

  fillTable() {
    const details = byId("map-table");
    if (!details.open) return;
    const { prompts } = this, most = 100, holder = details.querySelector(".scroll");
    const unit = prompts.over_runs ? "" : "step ";
    const head = el("tr", {}, el("th", { scope: "col" }, "prompt"), el("th", { scope: "col", class: "n" }, "baseline"),
      ...prompts.columns.map((title) => el("th", { scope: "col", class: "n" }, unit + title)));
    const body = this.rows.slice(0, most).map((row) => el("tr", {}, el("th", { scope: "row", dir: "auto" }, prompts.label(row).slice(0, 120)),
      el("td", { class: "n" }, written(prompts.base(prompts.metric, row, 0))),
      ...prompts.columns.map((_, column) => el("td", { class: "n" }, written(prompts.value(prompts.metric, row, column))))));
    holder.replaceChildren(el("table", {}, el("caption", { class: "hidden" }, `${prompts.names[prompts.metric]} of each prompt`), el("thead", {}, head), el("tbody", {}, ...body)));
    details.querySelector(".note").textContent = this.rows.length > most ? `The first ${most} of ${this.rows.length} prompts; filter to see others.` : "";
  }
}
