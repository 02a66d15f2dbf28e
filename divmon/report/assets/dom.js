// Elements are made by name and filled with text nodes: no string of a ledger is ever read as markup.
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const byId = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;
const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));

function written(value, unit) {
  if (!known(value)) return "–";
  if (unit === "percent") return `${Math.round(100 * value)}%`;
  if (unit === "points") return `${value >= 0 ? "+" : "−"}${Math.round(Math.abs(100 * value))}`;
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  const text = size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
  return text.replace("-", "−");
}

// Round numbers between low and high, about `count` of them.
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw - 1e-12);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) {
    found.push(Number(value.toPrecision(12)));
  }
  return found;
}

// Names of the ticks of an axis, with as many digits as tell them apart.
function tickNames(values, unit) {
  if (unit === "percent") return tickNames(values.map((value) => 100 * value), "number").map((name) => `${name}%`);
  const step = Math.abs((values[1] ?? values[0] ?? 1) - (values[1] === undefined ? 0 : values[0])) || 1;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9) + (Math.abs(step * 10 ** -Math.floor(Math.log10(step)) - 2.5) < 1e-6 ? 1 : 0));
  return values.map((value) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−"));
}

// A tooltip inside `holder`, which is positioned; its lines are text.
function showTip(holder, left, top, lines) {
  let tip = holder.querySelector(":scope > .tip");
  if (!tip) holder.append((tip = el("div", { class: "tip", "aria-hidden": "true" })));
  tip.replaceChildren(...lines.map((line, number) => el("div", { class: number ? null : "step", dir: "auto" }, line)));
  tip.hidden = false;
  const room = holder.scrollLeft + holder.clientWidth - tip.offsetWidth;
  const right = left + 14;
  tip.style.left = `${clamp(right > room ? left - tip.offsetWidth - 14 : right, holder.scrollLeft, room)}px`;
  const below = holder.scrollTop + holder.clientHeight - tip.offsetHeight;
  tip.style.top = `${holder.clientHeight > tip.offsetHeight ? clamp(top, holder.scrollTop, below) : top}px`;
}

function hideTip(holder) {
  const tip = holder.querySelector(":scope > .tip");
  if (tip) tip.hidden = true;
}

// Draw again whenever the element's width changes, once a frame.
function onWidth(element, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (element.clientWidth && element.clientWidth !== width) {
      width = element.clientWidth;
      requestAnimationFrame(draw);
    }
  }).observe(element);
}

// A chart as a slider: the pointer chooses the nearest place, arrow keys walk from `start`, and leaving it chooses none.
// `chart` has the `place` that is chosen now, or null.
function slides(root, { chart, last, start, nearest, choose, leave }) {
  const point = (event) => {
    const frame = root.getBoundingClientRect(), scale = root.viewBox.baseVal.width / frame.width;
    choose(nearest((event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale));
  };
  root.addEventListener("pointermove", point);
  root.addEventListener("pointerdown", point);
  root.addEventListener("pointerleave", leave);
  root.addEventListener("blur", leave);
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leave();
    const now = chart.place ?? start;
    const to = { ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(clamp(to, 0, last));
  });
}

// The place of the smallest of some numbers.
const least = (numbers) => numbers.indexOf(Math.min(...numbers));
