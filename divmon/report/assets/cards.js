// The prompts one by one, with what was said before and after.
const PAGE = 8, BRIEF = 3;

// Completions that say nearly the same, as [place of the first, how many]; those said most often first.
function groupsOf(completions) {
  const first = (place) => { for (let hops = 0; known(completions[place].n) && completions[place].n < place && hops < 99; hops++) place = completions[place].n; return place; };
  const counts = new Map();
  completions.forEach((_, place) => { const root = first(place); counts.set(root, (counts.get(root) ?? 0) + 1); });
  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}

function completionText(completion) {
  if (!completion.t) return el("span", { class: "reason" }, "(nothing)");
  return el("div", { class: "text", dir: "auto" }, completion.t);
}

function tagsOf(completion) {
  const tags = [];
  if (completion.x) tags.push(el("span", {}, "no answer"));
  if (known(completion.n)) tags.push(el("span", { class: "near" }, `≈ #${completion.n + 1}`));
  if (known(completion.d)) tags.push(el("span", {}, completion.d < 0.0005 ? "as the baseline said" : `${completion.d.toFixed(2)} from the baseline's nearest`));
  if (completion.c) tags.push(el("span", {}, "cut off at the token limit"));
  return tags.length ? el("div", { class: "tags" }, ...tags) : null;
}

function briefList(completions) {
  if (!completions.length) return el("p", { class: "none" }, "not kept");
  const groups = groupsOf(completions);
  const items = groups.slice(0, BRIEF).map(([place, count]) => el("li", {},
    el("span", { class: count > 1 ? "times" : "times once" }, `×${count}`, el("span", { class: "hidden" }, count > 1 ? " nearly alike" : " once")),
    completionText(completions[place]), completions[place].x ? el("div", { class: "tags" }, "no answer") : null));
  if (groups.length > BRIEF) items.push(el("li", { class: "near" }, `and ${groups.length - BRIEF} more`));
  return el("ul", { class: "said brief" }, ...items);
}

function wholeList(completions) {
  return el("ul", { class: "said" }, ...completions.map((completion, place) => el("li", { class: known(completion.n) ? "near" : null },
    el("span", { class: "times once" }, `#${place + 1}`),
    completion.r ? el("div", { class: "reason", dir: "auto" }, completion.r) : null,
    completionText(completion), tagsOf(completion))));
}

class Cards {
  constructor(prompts) {
    Object.assign(this, { prompts, list: byId("cards"), more: byId("more"), rows: [], shown: 0 });
    prompts.listeners.push((rows) => { this.rows = rows; this.shown = 0; this.list.replaceChildren(); this.extend(); });
    this.more.addEventListener("click", () => {
      const next = this.shown;
      this.extend();
      this.list.children[next]?.focus();
    });
  }

  extend(to = this.shown + PAGE) {
    const until = Math.min(to, this.rows.length);
    for (; this.shown < until; this.shown++) this.list.append(this.card(this.rows[this.shown]));
    this.more.hidden = this.shown >= this.rows.length;
    this.more.textContent = `Show ${Math.min(PAGE, this.rows.length - this.shown)} more of ${this.rows.length - this.shown}`;
  }

  open(row) {
    const place = this.rows.indexOf(row);
    if (place < 0) return;
    if (place >= this.shown) this.extend(place + 1);
    this.list.children[place].focus();
    this.list.children[place].scrollIntoView({ block: "start" });
  }

  card(row) {
    const { prompts } = this, prompt = prompts.prompts[row], said = prompts.said.completions[row];
    const text = prompt.text || prompt.id, long = text.length > 230;
    const heading = long ? el("details", { class: "prompt" }, el("summary", { dir: "auto" }, text.slice(0, 200) + "…"), el("div", { dir: "auto" }, text))
      : el("h3", { class: "prompt", dir: "auto" }, text);
    const what = [prompt.text ? prompt.id : "", byId("task") && prompt.task, byId("category") && prompt.category].filter((part, n, all) => part && all.indexOf(part) === n).join(" · ");
    return el("li", { class: "card", tabindex: -1, "data-row": row }, el("header", {}, heading, el("span", { class: "what" }, what)), this.chips(row) ?? "", ...this.said(row, said));
  }

  chips(row) {
    const { prompts } = this, last = prompts.columns.length - 1;
    if (prompts.over_runs) return null; // each column has its own values
    const items = Object.keys(prompts.values).map((metric) => el("li", {}, el("b", {}, prompts.names[metric]),
      last ? `${written(prompts.base(metric, row, last))} → ${written(prompts.value(metric, row, last))}` : written(prompts.value(metric, row, last))));
    return el("ul", { class: "chips" }, ...items);
  }

  values(row, column) {
    const { prompts } = this, place = prompts.said.places[column];
    const value = (metric) => (place === null ? prompts.base(metric, row, 0) : prompts.value(metric, row, place));
    const words = Object.keys(prompts.values).map((metric) => `${prompts.names[metric]} ${written(value(metric))}`);
    return el("p", { class: "values" }, words.join(" · "));
  }

  said(row, said) {
    if (!said) return [el("p", { class: "none" }, "Its completions are not in this page.")];
    const titles = this.prompts.said.columns;
    const columns = titles.map((title, n) => {
      const groups = groupsOf(said[n]).length;
      const count = said[n].length ? el("span", {}, `${groups} of ${said[n].length} different`) : null;
      return el("section", {}, el("h4", {}, title, count), this.prompts.over_runs ? this.values(row, n) : null, briefList(said[n]));
    });
    const total = said.reduce((sum, completions) => sum + completions.length, 0);
    const whole = el("details", {}, el("summary", {}, `All ${total} completions`));
    whole.addEventListener("toggle", () => {
      if (whole.open && whole.children.length === 1) {
        whole.append(el("div", { class: "columns" }, ...titles.map((title, n) => el("section", {}, el("h4", {}, title), wholeList(said[n])))));
      }
    });
    return [el("div", { class: "columns" }, ...columns), total ? whole : null];
  }
}
