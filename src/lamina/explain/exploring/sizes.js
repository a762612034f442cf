// Sizes for any input: follows the programs that Python wrote of the layers' shape rules. No rule stands here.
// An expression is a number, null (open), [input, axis], or [operator, left, right].

const OPERATORS = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "//": (a, b) => (a - modulo(a, b)) / b,
  "%": (a, b) => modulo(a, b),
  "==": (a, b) => a === b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
};

function modulo(a, b) {
  return a - b * Math.floor(a / b);
}

function numberIn(expression, sizes) {
  if (expression === null || typeof expression === "number") return expression;
  if (expression.length === 2) return sizes[expression[0]][expression[1]];
  const left = numberIn(expression[1], sizes);
  const right = numberIn(expression[2], sizes);
  return left === null || right === null ? null : OPERATORS[expression[0]](left, right);
}

// Where an open size is asked for, the way that does not fail; {} where both go on.
function followProgram(program, sizes) {
  while (program.ask) {
    const [operator, left, right] = program.ask;
    const one = numberIn(left, sizes);
    const other = numberIn(right, sizes);
    if (one !== null && other !== null) program = OPERATORS[operator](one, other) ? program.yes : program.no;
    else if (program.yes.fail || program.no.fail) program = program.yes.fail ? program.no : program.yes;
    else return {};
  }
  return program;
}

// A text is a list of strings and holes [expression, whether thousands are set apart].
function writtenText(text, sizes, name) {
  return text
    .map((part) => {
      if (typeof part === "string") return part.replaceAll("\ue002", `'${name}'`);
      const number = numberIn(part[0], sizes);
      return number === null ? "None" : part[1] ? grouped(number) : String(number).replace("-", "−");
    })
    .join("");
}

function grouped(number) {
  return number.toLocaleString("en-US").replace("-", "−");
}

function product(sizes) {
  return sizes.reduce((all, size) => (all === null || size === null ? null : all * size), 1);
}

function sumOf(numbers) {
  return numbers.reduce((all, one) => (all === null || one === null ? null : all + one), 0);
}

function sameShape(one, other) {
  return one.length === other.length && one.every((size, axis) => size === other[axis]);
}

function parameterCount(weights) {
  return weights === null ? null : sumOf(weights.map(([, sizes]) => product(sizes)));
}

// The whole model on other input shapes (a list for each of `data.inputs`): for every call its sizes and costs.
// state: "fine"; "fails" (with `failure`); "behind" one that fails; "unknown" (with `reason`).
function evaluateModel(data, inputShapes) {
  const shapes = data.tensors.map(() => null);
  data.inputs.forEach((input, number) => {
    shapes[input.tensor] = inputShapes[number];
  });
  const builtWeights = data.layers.map(() => undefined);
  const calls = data.nodes.map((node) => {
    const received = node.inputs.map((tensor) => shapes[tensor]);
    const call = evaluateCall(data, node, received, builtWeights);
    node.outputs.forEach((tensor, number) => {
      if (shapes[tensor] === null) shapes[tensor] = call.outputs ? call.outputs[number] : null;
    });
    call.outputs = node.outputs.map((tensor) => shapes[tensor]);
    return withCosts(data, node, call);
  });
  return { calls, shapes, totals: totalsOf(data, calls, builtWeights) };
}

function evaluateCall(data, node, received, builtWeights) {
  if (received.some((shape) => shape === null)) return { state: "behind", received, outputs: null };
  if (!node.inputs.length) return { state: "fine", received, outputs: null, weights: [], work: 0 };
  const given = node.outputs.map((tensor) => data.tensors[tensor].shape);
  const original = node.layer === null ? [] : data.layers[node.layer].weights;
  const unchanged = received.every((shape, number) => sameShape(shape, node.received[number]));
  const end = node.program === null ? {} : followProgram(data.programs[node.program], received);
  if (end.fail) {
    const [what, why, mend] = end.fail.map((text) => writtenText(text, received, node.name));
    return { state: "fails", received, outputs: null, failure: { what, why, mend } };
  }
  if (!end.outputs) return withoutProgram(node, received, unchanged ? given : null, original);
  const outputs = end.outputs.map((axes) => axes.map((axis) => numberIn(axis[1], received)));
  if (unchanged) outputs.splice(0, outputs.length, ...given);
  const arithmetic = end.outputs.map((axes) =>
    axes.map(([name, , formula, text]) => ({ name, formula, numbers: writtenText(text, received, node.name) })),
  );
  let weights = end.weights.map(([name, sizes, axes, trainable]) => [
    name,
    sizes.map((size) => numberIn(size, received)),
    axes,
    trainable,
  ]);
  if (node.layer !== null) {
    const before = builtWeights[node.layer];
    if (before && !weights.every((weight, number) => sameShape(weight[1], before[number][1]))) {
      return { state: "fails", received, outputs: null, failure: sharedFailure(node, before, weights) };
    }
    builtWeights[node.layer] = weights;
  }
  const work = end.work === null ? (unchanged ? node.work : null) : numberIn(end.work, received);
  const workText = end.work === null ? "" : writtenText(end.workText, received, node.name);
  const always = Boolean(data.programs[node.program].outputs); // the rule asks nothing of the sizes
  return { state: "fine", received, outputs, arithmetic, always, weights, work, workText };
}

function withoutProgram(node, received, given, weights) {
  const isFunction = node.class.startsWith("ops.");
  if (given !== null) return { state: "fine", received, outputs: given, weights, work: node.work, workText: "" };
  const reason = isFunction
    ? "not known for another size: a function states no shape rule"
    : "not known for another size: this layer states no shape rule";
  const outputs = node.axes.map((axes) => axes.map(() => null));
  return { state: "unknown", received, outputs, reason, weights: weights.length ? null : [], work: null };
}

function sharedFailure(node, before, weights) {
  const text = (all) => all.map((weight) => `(${weight[1].join(", ")})`).join(", ");
  return {
    what: `'${node.name}' is called a second time, on a size that its weights do not fit.`,
    why: `the first call makes weights of ${text(before)}; this one needs ${text(weights)}`,
    mend: "bring both inputs to the same size, or use two layers",
  };
}

function withCosts(data, node, call) {
  const known = call.state === "fine" || call.state === "unknown";
  call.parameters = known ? parameterCount(call.weights) : null;
  call.memory = call.outputs.some((shape) => shape === null)
    ? null
    : sumOf(call.outputs.map((shape, number) => product([...shape.slice(1), data.tensors[node.outputs[number]].bytes])));
  if (!known) call.work = null;
  return call;
}

// Parameters count once for a layer that is called several times; what weights share across layers, Python counted.
function totalsOf(data, calls, builtWeights) {
  const changes = data.layers.map((layer, number) => {
    const now = builtWeights[number];
    return now === undefined ? 0 : parameterCount(now) - parameterCount(layer.weights);
  });
  const needed = calls.every((call) => call.parameters !== null);
  return {
    parameters: needed ? data.model.parameters + sumOf(changes) : null,
    work: sumOf(calls.map((call) => call.work)),
    memory: sumOf(calls.filter((call) => call.received.length).map((call) => call.memory)), // not of the inputs
  };
}
