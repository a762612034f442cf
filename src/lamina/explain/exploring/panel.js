// The text beside the graph: the explanation of a layer, of a group, of the model. All text goes in as text nodes.

function html(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function count(number, one, many) {
  return `${grouped(number)} ${number === 1 ? one : many}`;
}

// 25,636,712 → "25.6 M"
function short(number) {
  if (number === null) return "–";
  for (const [unit, size] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e4]]) {
    if (number >= size) return `${Number((number / (unit === "k" ? 1e3 : size)).toPrecision(3))} ${unit}`;
  }
  return grouped(number);
}

function bytes(number) {
  if (number === null) return "–";
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (number >= size) return `${Number((number / size).toPrecision(3))} ${unit}`;
  }
  return count(number, "byte", "bytes");
}

function shapeLine(label, names, shape, given) {
  const axes = (shape || []).map((size, axis) => {
    const before = given && given[axis] !== undefined ? given[axis] : null;
    const changed = given && size !== before;
    const was = changed && before !== null ? `${names[axis] || ""} · was ${before}` : names[axis] || "";
    return html(
      "span",
      { class: changed ? "axis changed" : "axis" },
      html("b", {}, sizeText(size, !given || before === null)),
      html("small", {}, was),
    );
  });
  const nothing = html("span", { class: "soft" }, shape === null ? "not reached" : "one number");
  return html("div", { class: "shape" }, html("span", { class: "label" }, label), ...(axes.length ? axes : [nothing]));
}

function section(title, ...children) {
  const kept = children.filter((child) => child !== null);
  return kept.length ? html("section", {}, html("h3", {}, title), ...kept) : null;
}

function lines(pairs) {
  const list = html("dl", { class: "lines" });
  for (const [name, value, under] of pairs.filter((pair) => pair !== null)) {
    const content = html("dd", {}, value);
    if (under) content.append(html("span", { class: "under" }, under));
    list.append(html("dt", {}, name), content);
  }
  return list;
}

function goTo(label, action) {
  return html("button", { type: "button", onclick: action }, label);
}

function links(entries) {
  const list = html("ul", { class: "links" });
  for (const [label, action] of entries) list.append(html("li", {}, goTo(label, action)));
  return list;
}

function findingCard(finding, unfolded) {
  return html(
    "details",
    { class: "card finding", open: unfolded ? "" : null },
    html("summary", {}, html("span", { class: "code" }, finding.code), html("strong", {}, finding.what)),
    html("p", {}, finding.why),
    finding.mend ? html("p", {}, html("em", {}, "To mend: "), finding.mend) : null,
  );
}

// Findings of one code together: the first in full, then where else.
function findingCards(page) {
  const byCode = new Map();
  for (const finding of page.data.findings) byCode.set(finding.code, [...(byCode.get(finding.code) || []), finding]);
  return [...byCode.values()].map((findings) => {
    const card = findingCard(findings[0], true);
    const places = findings.filter((finding) => page.hasLayer(finding.layer));
    if (findings.length > 1) card.append(html("p", {}, `${count(findings.length, "place", "places")}:`));
    if (places.length) card.append(links(places.map(({ layer }) => [layer, () => page.chooseLayer(layer)])));
    return card;
  });
}

function panelHead(title, kind, close) {
  return html(
    "div",
    { class: "panel-head" },
    html("div", {}, html("h2", {}, title), html("div", { class: "class" }, kind)),
    close && html("button", { class: "close", type: "button", "aria-label": "Close", onclick: close }, "×"),
  );
}

function arithmeticLines(call, namesIn) {
  if (!call.arithmetic) return null;
  const pairs = [];
  const left = call.arithmetic.flat();
  const gone = (call.always ? namesIn.flat() : []).filter((name) => !left.some((axis) => axis.name === name || axis.formula.includes(name)));
  if (gone.length) pairs.push([[...new Set(gone)].join(", "), "all positions taken together, whatever their number"]);
  call.arithmetic.forEach((axes, output) =>
    axes.forEach(({ name, formula, numbers }, axis) => {
      const size = call.outputs[output][axis];
      if (formula) pairs.push([name, `${numbers} = ${size === null ? "None" : grouped(size)}`, formula]);
    }),
  );
  return pairs.length ? lines(pairs) : null;
}

function parameterLines(call, given) {
  if (call.weights === null) return [html("p", { class: "soft" }, "Not known for another size: no rule.")];
  if (call.weights === undefined) return [html("p", { class: "soft" }, "–")];
  if (!call.weights.length) return [html("p", { class: "soft" }, "None.")];
  const numbers = call.weights.map(([, sizes]) => sizes.join("·") || "1").join(" + ");
  const words = call.weights.map(([, sizes, axes]) => (axes ? axes.join("·") : sizes.join("·")) || "1").join(" + ");
  const frozen = sumOf(call.weights.filter((weight) => !weight[3]).map((weight) => product(weight[1])));
  const now = call.parameters;
  const before = parameterCount(given);
  return [
    html("p", {}, numbers === String(now) ? grouped(now) : `${numbers} = ${grouped(now)}`),
    html("p", { class: "soft" }, words),
    frozen ? html("p", { class: "soft" }, frozen === now ? "not trained" : `${grouped(frozen)} of them not trained`) : null,
    now === before ? null : html(
      "div",
      { class: "card" },
      html("strong", {}, `Made for this size, it has ${grouped(now)} parameters; in this model it has ${grouped(before)}.`),
      html("p", {}, "Its present weights do not fit: a size of the input is a size of a weight."),
    ),
  ].filter((line) => line !== null);
}

function stateCard(call, blame) {
  if (call.state === "fails") {
    const { what, why, mend } = call.failure;
    return html(
      "div",
      { class: "card bad" },
      html("strong", {}, `Fails here: ${what}`),
      why ? html("p", {}, why) : null,
      mend ? html("p", {}, html("em", {}, "To mend: "), mend) : null,
    );
  }
  if (call.state === "behind") {
    return html("div", { class: "card bad" }, html("strong", {}, "Not reached: a layer before fails."), blame);
  }
  if (call.state === "unknown") return html("div", { class: "card" }, html("strong", {}, `The size is ${call.reason}.`));
  return null;
}

// `page` gives: data, now and given (evaluations), choose(item), close(), nameOf(item), hierarchy, findingsOf(call).
function callPanel(page, number) {
  const { data, now, given } = page;
  const node = data.nodes[number];
  const call = now.calls[number];
  const before = given.calls[number];
  const makers = [...new Set(page.hierarchy.edges.filter((edge) => edge.target === `n${number}`).map((edge) => edge.source))];
  const readers = [...new Set(page.hierarchy.edges.filter((edge) => edge.source === `n${number}`).map((edge) => edge.target))];
  const share = call.work && now.totals.work ? ` · ${((100 * call.work) / now.totals.work).toFixed(1)} % of the model` : "";
  const field = node.fields[0];
  const nameOf = (item) => [page.nameOf(item), () => page.choose(item)];
  const first = now.calls.findIndex((one) => one.state === "fails");
  const within = node.id === node.name ? "" : ` · ${node.id}`; // in a nested model, or a further call
  const weights = node.layer === null ? [] : data.layers[node.layer].weights;
  return [
    panelHead(node.name, node.class + within, page.close),
    stateCard(call, first < 0 ? null : goTo(data.nodes[first].name, () => page.choose(`n${first}`))),
    ...page.findingsOf(number).map((finding) => findingCard(finding, false)),
    section(
      "Shapes",
      ...call.received.map((shape, place) => shapeLine("in", inputNames(data, node, place), shape, before.received[place])),
      ...call.outputs.map((shape, place) => shapeLine("out", outputNames(call, node, place), shape, before.outputs[place])),
    ),
    section("Why these sizes", arithmeticLines(call, node.inputs.map((_, place) => inputNames(data, node, place)))),
    section("Parameters", ...parameterLines(call, weights)),
    section("Cost of one example", lines([
      ["MACs", `${call.work === null ? "–" : grouped(call.work)}${share}`, call.work && call.workText],
      ["memory", bytes(call.memory), call.memory === null ? "" : `${node.outputs.map((tensor, place) => `${call.outputs[place].slice(1).join("·")}·${data.tensors[tensor].bytes}`).join(" + ")} = ${count(call.memory, "byte", "bytes")}`],
    ])),
    field && section("Receptive field", lines(field.axes.map(([name, size, stride, unknown]) => [
      name,
      unknown ? `not known behind '${unknown}'` : size === null ? `the whole ${name}` : count(size, "position", "positions"),
      stride && size !== null ? `one step is ${count(Number(stride) || stride, "position", "positions")} of the input` : "",
    ]))),
    makers.length ? section("Reads", links(makers.map(nameOf))) : null,
    readers.length ? section("Read by", links(readers.map(nameOf))) : null,
  ];
}

function inputNames(data, node, place) {
  const maker = data.nodes.find((one) => one.outputs.includes(node.inputs[place]));
  return maker ? maker.axes[maker.outputs.indexOf(node.inputs[place])] : [];
}

function outputNames(call, node, place) {
  return call.arithmetic ? call.arithmetic[place].map((axis) => axis.name) : node.axes[place];
}

function groupPanel(page, item) {
  const group = page.data.groups[Number(item.slice(1))];
  const calls = page.hierarchy.callsIn(item).map((one) => Number(one.slice(1)));
  const inside = calls.map((number) => page.now.calls[number]);
  const layers = new Map(calls.map((number) => [page.data.nodes[number].layer, page.now.calls[number].parameters]));
  layers.delete(null);
  const findings = new Set(calls.flatMap((number) => page.findingsOf(number)));
  return [
    panelHead(group.name, `${group.kind === "model" ? "nested model" : group.kind} · ${count(calls.length, "layer", "layers")}`, page.close),
    html("p", {}, goTo(page.isOpen(item) ? "Fold" : "Unfold", () => page.toggle(item))),
    section("All together", lines([
      ["parameters", sumOf([...layers.values()]) === null ? "–" : grouped(sumOf([...layers.values()]))],
      ["MACs", sumOf(inside.map((call) => call.work)) === null ? "–" : grouped(sumOf(inside.map((call) => call.work)))],
      ["memory", bytes(sumOf(inside.map((call) => call.memory)))],
    ])),
    findings.size ? section("Findings", ...[...findings].map((finding) => findingCard(finding, false))) : null,
    section("Layers", links(calls.map((number) => [page.data.nodes[number].name, () => page.choose(`n${number}`)]))),
  ];
}

const KEYS = [
  ["↑ ↓", "along the connections"], ["← →", "to what stands beside"], ["Enter", "open a layer, unfold a group"],
  ["F", "fold the group around"], ["/", "search; Enter for the next"], ["+ − 0", "zoom, whole graph"],
  ["Esc", "close, back to the graph"],
];

function overviewPanel(page) {
  const { data } = page;
  const nodes = data.nodes.length;
  const intro = html("p", { class: "soft" }, "Choose a layer for its explanation. Type another input size above: all sizes are computed anew in this page.");
  const good = html("p", { class: "soft" }, "None: check() found nothing here that can hardly be meant.");
  const keys = html("dl", { class: "lines" });
  for (const [key, meaning] of KEYS) keys.append(html("dt", {}, html("kbd", {}, key)), html("dd", { class: "soft" }, meaning));
  return [
    panelHead(data.model.name, `${data.model.class} · ${count(nodes, "call", "calls")}, ${count(data.layers.length, "layer", "layers")}`, page.isNarrow() ? page.close : null),
    intro,
    section(
      data.findings.length ? `Findings (${data.findings.length})` : "Findings",
      ...(data.findings.length
        ? findingCards(page)
        : [good]),
    ),
    section("Keys", keys),
  ];
}
