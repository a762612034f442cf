// The page itself: what is shown now, and what keys, clicks and fields change.

const data = JSON.parse(document.getElementById("data").textContent);
const hierarchy = makeHierarchy(data);
const given = evaluateModel(data, data.inputs.map((input) => data.tensors[input.tensor].shape));
const element = (id) => document.getElementById(id);
const surface = element("graph");
const view = new View(surface, element("view"));
const narrow = matchMedia("(max-width: 720px)");

const state = {
  now: given,
  shapes: data.inputs.map((input) => data.tensors[input.tensor].shape),
  open: new Set(),
  chosen: null, // an item whose explanation is shown
  focused: null, // the item that Tab reaches
  matches: [],
  match: -1,
  colour: "",
  layout: null,
};

const findingsOfLayer = new Map();
for (const finding of data.findings) {
  if (finding.layer === null) continue;
  findingsOfLayer.set(finding.layer, [...(findingsOfLayer.get(finding.layer) || []), finding]);
}

const page = {
  data,
  given,
  hierarchy,
  get now() { return state.now; },
  isNarrow: () => narrow.matches,
  isOpen: (item) => state.open.has(item),
  nameOf: (item) => (item[0] === "g" ? data.groups[Number(item.slice(1))].name : data.nodes[Number(item.slice(1))].name),
  findingsOf: (number) => findingsOfLayer.get(data.nodes[number].name) || findingsOfLayer.get(data.nodes[number].id) || [],
  hasLayer: (name) => callOfLayer(name) >= 0,
  chooseLayer: (name) => choose(`n${callOfLayer(name)}`),
  choose,
  close,
  toggle,
};

function callOfLayer(name) {
  return data.nodes.findIndex((node) => node.name === name || node.id === name);
}

function announce(text) {
  element("live").textContent = text;
}

// Boxes.

const callsOf = new Map();
function callsIn(item) {
  if (!callsOf.has(item)) callsOf.set(item, hierarchy.callsIn(item).map((one) => Number(one.slice(1))));
  return callsOf.get(item);
}

function shownSize(item) {
  const calls = callsIn(item);
  const last = calls[calls.length - 1]; // of a group, what leaves it
  const shape = state.now.calls[last].outputs[0];
  const before = given.calls[last].outputs[0];
  const changed = shape !== null && before !== null && !sameShape(shape, before);
  return { text: shapeText(shape, before), changed };
}

function boxState(item) {
  const states = callsIn(item).map((number) => state.now.calls[number].state);
  return ["fails", "unknown", "behind"].find((one) => (one === "behind" ? states[0] === one : states.includes(one))) || "fine";
}

function shownText(item) {
  const number = Number(item.slice(1));
  const calls = callsIn(item);
  const { text, changed } = shownSize(item);
  const name = page.nameOf(item);
  const isGroup = item[0] === "g";
  const { kind } = isGroup ? data.groups[number] : { kind: data.nodes[number].class };
  const what = isGroup ? `${kind === "model" ? "nested model" : kind} · ${count(calls.length, "layer", "layers")}` : kind;
  return { name, kind: what, size: text, changed, isGroup, title: `${name} (${what}) → ${text}` };
}

const widths = new Map();
function widthOf(item) {
  const shown = shownText(item);
  const key = `${item} ${shown.size}`;
  if (!widths.has(key)) {
    const second = textWidth(shown.kind, FONTS.small) + 14 + textWidth(shown.size, FONTS.small);
    const wanted = Math.max(textWidth(shown.name, FONTS.name), second) + 2 * BOX.padding;
    widths.set(key, Math.ceil(Math.min(BOX.most, Math.max(BOX.least, wanted))));
  }
  return widths.get(key);
}

function describe(item) {
  const shown = shownText(item);
  const findings = callsIn(item).flatMap(page.findingsOf).length;
  const parameters = state.now.calls[callsIn(item)[0]].parameters;
  const states = { fails: "fails on this size", behind: "not reached", unknown: "size not known", fine: "" };
  return [
    shown.name,
    shown.kind,
    shown.size.replaceAll(" × ", " by "),
    shown.isGroup || !parameters ? "" : `${grouped(parameters)} parameters`,
    findings ? count(findings, "finding", "findings") : "",
    states[boxState(item)],
  ].filter(Boolean).join(", ");
}

function heats() {
  const values = new Map();
  if (!state.colour) return { values, least: 0, most: 0 };
  for (const item of state.layout.boxes.keys()) values.set(item, valueOf(item));
  const known = [...values.values()].filter((value) => value !== null && value > 0);
  return { values, least: Math.min(...known), most: Math.max(...known), any: known.length > 0 };
}

function valueOf(item) {
  const calls = callsIn(item);
  if (state.colour === "field") {
    const sizes = calls.flatMap((number) => (data.nodes[number].fields[0] || { axes: [] }).axes.map((axis) => axis[1]));
    return sizes.length && sizes.every((size) => size !== null) ? Math.max(...sizes) : null;
  }
  if (state.colour === "parameters") {
    const layers = new Map(calls.map((number) => [data.nodes[number].layer, state.now.calls[number].parameters]));
    layers.delete(null);
    return sumOf([...layers.values()]);
  }
  return sumOf(calls.map((number) => state.now.calls[number][state.colour]));
}

// From the palest to the strongest by orders of magnitude: 0 for nothing.
function heat(value, { least, most }) {
  if (!value) return 0;
  return least === most ? 1 : 0.12 + (0.88 * Math.log(value / least)) / Math.log(most / least);
}

function draw() {
  state.layout = layOut(hierarchy, page.isOpen, widthOf);
  const { boxes, frames, routes } = state.layout;
  element("frames").replaceChildren(...[...frames].map(([item, place]) => frameElement(item, place, { name: page.nameOf(item), title: `${page.nameOf(item)}: click to fold` })));
  element("routes").replaceChildren(...routes.map((route) => {
    const path = svg("path", { class: "route", d: routePath(route.points) });
    if (route.ends) path.setAttribute("marker-end", "url(#arrow)");
    return path;
  }));
  element("boxes").replaceChildren(...[...boxes].map(([item, place]) => boxElement(item, place, shownText(item))));
  if (state.focused === null || !(boxes.has(state.focused) || frames.has(state.focused))) {
    state.focused = boxes.keys().next().value || frames.keys().next().value || null;
  }
  paint();
}

// What changes without a new layout: sizes, states, colours, the chosen one.
function paint() {
  const warmth = heats();
  for (const [item, place] of state.layout.boxes) {
    const box = element(`box-${item}`);
    const findings = callsIn(item).flatMap(page.findingsOf).length;
    const condition = boxState(item);
    const value = warmth.values.has(item) ? heat(warmth.values.get(item), warmth) : 0;
    box.setAttribute("class", ["box", condition === "fine" ? "" : condition, item === state.chosen ? "chosen" : "", state.matches.includes(item) ? "match" : "", value > 0.45 ? "hot" : ""].filter(Boolean).join(" "));
    box.style.setProperty("--heat", value.toFixed(3));
    box.setAttribute("aria-label", describe(item));
    if (item[0] === "g") box.setAttribute("aria-expanded", "false");
    box.setAttribute("tabindex", item === state.focused ? 0 : -1);
    const { text, changed } = shownSize(item);
    const size = box.querySelector(".size");
    size.textContent = text;
    size.setAttribute("class", changed ? "size changed" : "size");
    for (const badge of box.querySelectorAll(".badge")) badge.remove();
    if (condition === "fails") box.append(badgeElement(place.width - 2, "×", true));
    else if (findings) box.append(badgeElement(place.width - 2, findings > 9 ? "9+" : String(findings), false));
  }
  for (const item of state.layout.frames.keys()) {
    const frame = element(`box-${item}`);
    frame.setAttribute("class", boxState(item) === "behind" ? "frame behind" : "frame");
    frame.setAttribute("tabindex", item === state.focused ? 0 : -1);
    frame.setAttribute("aria-expanded", "true");
    frame.setAttribute("aria-label", `${describe(item)}, unfolded`);
  }
  [...element("routes").children].forEach((path, number) => {
    const { edges } = state.layout.routes[number];
    const near = state.chosen !== null && edges.some((edge) => edge.source === state.chosen || edge.target === state.chosen);
    const dead = edges.every((edge) => state.now.shapes[edge.tensor] === null);
    path.setAttribute("class", ["route", near ? "near" : "", dead ? "behind" : ""].filter(Boolean).join(" "));
  });
  paintLegend(warmth);
}

function paintLegend({ least, most, any }) {
  const legend = element("legend");
  legend.hidden = !state.colour;
  if (legend.hidden) return;
  const written = state.colour === "memory" ? bytes : short;
  if (!any) legend.replaceChildren("not known");
  else if (state.colour === "field") legend.replaceChildren(written(least), html("i", {}), `${written(most)} positions`);
  else legend.replaceChildren(written(least), html("i", {}), written(most));
}

// The panel.

function showPanel() {
  const panel = element("panel");
  const item = state.chosen;
  const parts = item === null ? overviewPanel(page) : item[0] === "g" ? groupPanel(page, item) : callPanel(page, Number(item.slice(1)));
  panel.replaceChildren(...parts.filter(Boolean));
  panel.scrollTop = 0;
}

function openPanel() {
  element("panel").hidden = false;
  showPanel();
}

function coveredBelow() {
  return narrow.matches && !element("panel").hidden ? element("panel").offsetHeight : 0;
}

// Shows an item's explanation; unfolds what hides it.
function choose(item, focus = true) {
  reveal(item);
  state.chosen = item;
  state.focused = item;
  openPanel();
  paint();
  bringIntoView(item);
  if (focus) element(`box-${item}`).focus({ preventScroll: true });
}

function close() {
  const back = state.chosen;
  state.chosen = null;
  if (narrow.matches) element("panel").hidden = true;
  else showPanel();
  paint();
  const target = back !== null && element(`box-${back}`) ? back : state.focused;
  if (target !== null && element(`box-${target}`)) element(`box-${target}`).focus({ preventScroll: true });
}

function reveal(item) {
  const closed = hierarchy.around(item).filter((group) => !state.open.has(group));
  if (!closed.length) return;
  for (const group of closed) state.open.add(group);
  draw();
}

function placeOf(item) {
  return state.layout.boxes.get(item) || state.layout.frames.get(item);
}

function bringIntoView(item) {
  view.show(placeOf(item), coveredBelow());
}

// Folds or unfolds a group; what was under the pointer stays where it is.
function toggle(item) {
  const before = placeOf(item);
  if (state.open.has(item)) state.open.delete(item);
  else state.open.add(item);
  state.focused = item;
  if (!narrow.matches) state.chosen = item;
  draw();
  const after = placeOf(item);
  view.x += (before.x + before.width / 2 - after.x - after.width / 2) * view.scale;
  view.y += (before.y - after.y) * view.scale;
  view.apply();
  if (!narrow.matches) openPanel();
  paint();
  element(`box-${item}`).focus({ preventScroll: true });
  announce(`${page.nameOf(item)} ${state.open.has(item) ? "unfolded" : "folded"}`);
}

function foldAll(open) {
  state.open = new Set(open ? hierarchy.groups : []);
  if (state.chosen !== null && hierarchy.around(state.chosen).some((group) => !state.open.has(group))) state.chosen = null;
  draw();
  showPanel();
  lookAtStart();
  announce(open ? "All groups unfolded" : "All groups folded");
}

function lookAtStart() {
  const { boxes, frames, width } = state.layout;
  const first = boxes.values().next().value || frames.values().next().value;
  if (first) view.startAt(first.x + first.width / 2, Math.min(width, 900));
}

// Large models open folded: the innermost groups first, until what is left can be looked over.
function foldForSize() {
  const depth = (group) => hierarchy.around(group).length;
  const deepest = Math.max(0, ...hierarchy.groups.map(depth));
  state.open = new Set(hierarchy.groups);
  const visible = () => data.nodes.filter((_, number) => hierarchy.around(`n${number}`).every((group) => state.open.has(group))).length + hierarchy.groups.filter((group) => !state.open.has(group)).length;
  for (let level = deepest; level >= 0 && visible() > 60; level -= 1) {
    for (const group of hierarchy.groups) if (depth(group) === level) state.open.delete(group);
  }
}

// Another input size.

function makeSizeFields() {
  const form = element("sizes");
  data.inputs.forEach((input, number) => {
    const fields = html("fieldset", {}, html("span", { class: "input-name", title: input.name }, data.inputs.length > 1 ? input.name : "Input"));
    data.tensors[input.tensor].shape.forEach((size, axis) => {
      if (axis === 0) return;
      const name = input.axes[axis];
      const field = html("input", { type: "text", inputmode: "numeric", autocomplete: "off", maxlength: 7, title: name, "aria-label": `${name} of ${input.name}`, placeholder: "None", value: size === null ? "" : size, "data-input": number, "data-axis": axis });
      if (axis > 1) fields.append(html("span", { class: "times", "aria-hidden": "true" }, "×"));
      fields.append(field);
    });
    form.append(fields);
  });
  form.append(html("button", { type: "submit" }, "Apply"), html("button", { type: "reset", id: "reset", hidden: "" }, "Reset"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    applySizes();
  });
  form.addEventListener("reset", () => setTimeout(applySizes));
}

function applySizes() {
  const shapes = data.inputs.map((input) => [...data.tensors[input.tensor].shape]);
  let wrong = null;
  for (const field of element("sizes").querySelectorAll("input")) {
    const text = field.value.trim();
    const original = data.tensors[data.inputs[field.dataset.input].tensor].shape[field.dataset.axis];
    const good = /^[1-9][0-9]*$/.test(text) || (text === "" && original === null);
    field.setAttribute("aria-invalid", good ? "false" : "true");
    if (!good && wrong === null) wrong = field;
    shapes[field.dataset.input][field.dataset.axis] = text === "" ? null : Number(text);
  }
  if (wrong !== null) {
    wrong.focus();
    notice(`A size is a whole number above 0; ${wrong.getAttribute("aria-label")} is ${wrong.value.trim() ? `'${wrong.value.trim()}'` : "empty"}.`, true);
    announce(element("notice").textContent);
    return;
  }
  setShapes(shapes);
}

function setShapes(shapes) {
  state.shapes = shapes;
  state.now = evaluateModel(data, shapes);
  element("reset").hidden = shapes.every((shape, number) => sameShape(shape, data.tensors[data.inputs[number].tensor].shape));
  widths.clear();
  draw();
  showTotals();
  showPanel();
  showOutcome();
}

function showOutcome() {
  const failing = state.now.calls.findIndex((call) => call.state === "fails");
  const unknown = state.now.calls.findIndex((call) => call.state === "unknown");
  const sizes = state.shapes.map((shape) => shapeText(shape, null)).join(", ");
  if (failing >= 0) {
    notice(`Fails: ${state.now.calls[failing].failure.what} `, true, failing);
    announce(`Sizes recomputed for ${sizes}. Fails at ${data.nodes[failing].name}.`);
  } else if (unknown >= 0) {
    notice(`Behind '${data.nodes[unknown].name}' sizes are not known: it states no rule for them.`, false, unknown);
    announce(`Sizes recomputed for ${sizes}. Not known behind ${data.nodes[unknown].name}.`);
  } else {
    element("notice").hidden = true;
    const outputs = data.outputs.map((tensor) => shapeText(state.now.shapes[tensor], data.tensors[tensor].shape)).join(", ");
    announce(`Sizes recomputed for ${sizes}. Output ${outputs}.`);
  }
}

function notice(text, bad, number = -1) {
  const bar = element("notice");
  bar.hidden = false;
  bar.className = bad ? "notice bad" : "notice";
  bar.replaceChildren(html("span", {}, text));
  if (number >= 0) bar.append(goTo(`Show ${data.nodes[number].name}`, () => choose(`n${number}`)));
}

function showTotals() {
  const entries = [["parameters", "parameters", short, count], ["MACs", "work", short, count], ["memory", "memory", bytes, bytes]];
  element("totals").replaceChildren(...entries.map(([label, key, written]) => {
    const now = state.now.totals[key];
    const before = given.totals[key];
    const exact = now === null ? "not known" : `${grouped(now)}${key === "memory" ? " bytes, the outputs of all layers for one example, without the inputs" : ""}`;
    const changed = now !== before;
    const was = changed && before !== null ? ` (was ${written(before)})` : "";
    return html("div", { class: changed ? "changed" : "", title: exact, "data-total": key }, html("dt", {}, label), html("dd", {}, written(now) + was));
  }));
}

// Search.

function search(step = 0) {
  const wanted = element("search").value.trim().toLowerCase();
  const found = wanted ? data.nodes.map((node, number) => [node, number]).filter(([node]) => node.name.toLowerCase().includes(wanted) || node.class.toLowerCase().includes(wanted)) : [];
  state.matches = found.map(([, number]) => `n${number}`);
  if (!wanted || !found.length) {
    state.match = -1;
    element("matches").textContent = wanted ? "none" : "";
    paint();
    return;
  }
  state.match = step === 0 ? -1 : (state.match + step + found.length) % found.length;
  element("matches").textContent = step === 0 ? String(found.length) : `${state.match + 1} of ${found.length}`;
  if (step === 0) paint();
  else choose(state.matches[state.match], false);
}

// Keys in the graph.

function visibleEnd(call) {
  return hierarchy.around(call).find((group) => !state.open.has(group)) || call;
}

function neighbours(item, forward) {
  const inside = new Set(hierarchy.callsIn(item));
  const [from, to] = forward ? ["source", "target"] : ["target", "source"];
  const ends = hierarchy.edges.filter((edge) => inside.has(edge[from]) && !inside.has(edge[to])).map((edge) => visibleEnd(edge[to]));
  return [...new Set(ends)];
}

function centre(item) {
  const place = placeOf(item);
  return { x: place.x + place.width / 2, y: place.y + Math.min(place.height, BOX.height) / 2 };
}

function move(key) {
  const item = state.focused;
  const here = centre(item);
  let candidates;
  if (key === "ArrowDown" || key === "ArrowUp") {
    candidates = neighbours(item, key === "ArrowDown");
  } else {
    const sign = key === "ArrowRight" ? 1 : -1;
    candidates = [...state.layout.boxes.keys()].filter((other) => sign * (centre(other).x - here.x) > 8 && Math.abs(centre(other).y - here.y) < 240);
  }
  const sideways = key === "ArrowLeft" || key === "ArrowRight";
  const distance = (other) => Math.abs(centre(other).x - here.x) * (sideways ? 1 : 2) + Math.abs(centre(other).y - here.y) * (sideways ? 3 : 1);
  const [nearest] = candidates.sort((one, other) => distance(one) - distance(other));
  if (nearest) focusOn(nearest);
}

function focusOn(item) {
  element(`box-${state.focused}`)?.setAttribute("tabindex", -1);
  state.focused = item;
  const box = element(`box-${item}`);
  box.setAttribute("tabindex", 0);
  bringIntoView(item);
  box.focus({ preventScroll: true });
}

function activate(item) {
  if (item[0] === "g") toggle(item);
  else choose(item);
}

function onGraphKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || state.focused === null) return;
  if (event.key.startsWith("Arrow")) move(event.key);
  else if (event.key === "Enter" || event.key === " ") activate(state.focused);
  else if (event.key === "f" || event.key === "F") {
    const around = state.open.has(state.focused) ? state.focused : hierarchy.around(state.focused).pop();
    if (around) toggle(around);
  } else if (event.key === "Home") focusOn(state.layout.boxes.keys().next().value);
  else return;
  event.preventDefault();
}

function onPageKey(event) {
  const typing = event.target.matches("input, select");
  if (event.key === "Escape") {
    if (typing && event.target.id === "search" && event.target.value) {
      event.target.value = "";
      search();
    } else close();
    event.preventDefault();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    "/": () => element("search").select(),
    "+": () => view.zoom(1.25),
    "=": () => view.zoom(1.25),
    "-": () => view.zoom(0.8),
    "0": () => view.fit(state.layout.width, state.layout.height),
  };
  if (!actions[event.key]) return;
  actions[event.key]();
  event.preventDefault();
}

function itemAt(target) {
  const box = target.closest?.(".box, .frame");
  return box ? box.id.slice(4) : null;
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  element("theme").setAttribute("aria-pressed", theme === "dark");
}

function listen() {
  surface.addEventListener("click", (event) => {
    const item = itemAt(event.target);
    if (view.dragged || item === null) return;
    activate(item);
  });
  surface.addEventListener("focusin", (event) => {
    const item = itemAt(event.target);
    if (item !== null && item !== state.focused) focusOn(item);
  });
  surface.addEventListener("keydown", onGraphKey);
  document.addEventListener("keydown", onPageKey);
  element("search").addEventListener("input", () => search());
  element("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") search(event.shiftKey ? -1 : 1);
  });
  element("colour").addEventListener("change", (event) => {
    state.colour = event.target.value;
    paint();
  });
  element("zoom-in").addEventListener("click", () => view.zoom(1.25));
  element("zoom-out").addEventListener("click", () => view.zoom(0.8));
  element("zoom-fit").addEventListener("click", () => view.fit(state.layout.width, state.layout.height));
  element("fold-all").addEventListener("click", () => foldAll(false));
  element("unfold-all").addEventListener("click", () => foldAll(true));
  element("overview").addEventListener("click", () => {
    state.chosen = null;
    openPanel();
    paint();
    element("panel").focus();
  });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", follow);
  follow();
  element("theme").addEventListener("click", () => {
    dark.removeEventListener("change", follow);
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  });
  narrow.addEventListener("change", () => {
    element("panel").hidden = narrow.matches && state.chosen === null;
    showPanel();
  });
}

function start() {
  element("model-name").textContent = data.model.name;
  const findings = data.findings.length;
  if (findings) element("overview").textContent = count(findings, "finding", "findings");
  for (const button of ["fold-all", "unfold-all"]) element(button).hidden = !hierarchy.groups.length;
  element("panel").hidden = narrow.matches;
  readFonts();
  listen();
  makeSizeFields();
  showTotals();
  foldForSize();
  draw();
  showPanel();
  lookAtStart();
}

start();
// For the console, and for tests: the model on other input shapes.
window.lamina = { data, evaluate: (shapes) => evaluateModel(data, shapes), view, state };
