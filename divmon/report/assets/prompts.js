// Which prompts are shown, and in which order: the map and the list below it follow the same choice.
class Prompts {
  constructor(data) {
    Object.assign(this, data); // columns, over_runs, prompts, values, baseline, scales, names, said
    this.metric = byId("metric")?.value ?? Object.keys(this.values)[0];
    this.listeners = [];
  }

  value(metric, row, column) { return this.values[metric][row][column]; }

  base(metric, row, column) {
    const found = this.baseline[metric][row];
    return Array.isArray(found) ? found[column] : found;
  }

  change(metric, row, column) {
    const now = this.value(metric, row, column), then = this.base(metric, row, column);
    return known(now) && known(then) ? now - then : null;
  }

  // In parts of what an average prompt has to lose.
  share(metric, row, column) {
    const change = this.change(metric, row, column);
    return known(change) ? change / this.scales[metric] : null;
  }

  // What a prompt is sorted by: the change at the last column, or the mean over runs.
  loss(row) {
    const count = this.columns.length, columns = this.over_runs ? [...Array(count).keys()] : [count - 1];
    const found = columns.map((column) => this.share(this.metric, row, column)).filter(known);
    return found.length ? found.reduce((a, b) => a + b, 0) / found.length : null;
  }

  chosen() {
    const category = byId("category")?.value ?? "", task = byId("task")?.value ?? "";
    const words = byId("search").value.trim().toLowerCase();
    const rows = [...this.prompts.keys()].filter((row) => {
      const prompt = this.prompts[row];
      return (!category || "=" + prompt.category === category) && (!task || "=" + prompt.task === task) &&
        (!words || prompt.text.toLowerCase().includes(words) || prompt.id.toLowerCase().includes(words));
    });
    const gained = byId("order").value === "gained", losses = new Map(rows.map((row) => [row, this.loss(row)]));
    const place = (row) => losses.get(row) ?? (gained ? -Infinity : Infinity);
    return rows.sort((a, b) => (gained ? place(b) - place(a) : place(a) - place(b)) || a - b);
  }

  label(row) {
    const prompt = this.prompts[row];
    return prompt.text ? prompt.text.replace(/\s+/g, " ") : prompt.id;
  }

  changed() {
    this.metric = byId("metric").value;
    const rows = this.chosen();
    byId("found").textContent = `${rows.length.toLocaleString("en-US")} of ${this.prompts.length.toLocaleString("en-US")} prompts`;
    this.listeners.forEach((listener) => listener(rows));
  }

  listen() {
    for (const id of ["metric", "category", "task", "order"]) byId(id)?.addEventListener("change", () => this.changed());
    let waiting;
    byId("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => this.changed(), 120); });
    this.changed();
  }
}
