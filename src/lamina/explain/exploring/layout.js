// Where boxes and arrows lie. Every open group is laid out for itself by dagre and stands in its surroundings as one
// box, so that folding one lays out anew only what is around it.

const BOX = { height: 46, least: 132, most: 300, padding: 12 };
const FRAME = { side: 18, head: 32, foot: 16, port: 6 }; // where arrows come in, the way to the first box makes room
const SPACING = { nodesep: 22, ranksep: 26, edgesep: 14, marginx: 0, marginy: 0 };

// Items are calls ("n12") and groups ("g3"). `parents` gives each item's group, null at the top.
function makeHierarchy(data) {
  const groupNumber = new Map(data.groups.map((group, number) => [group.id, `g${number}`]));
  const parents = new Map();
  const children = new Map([[null, []]]);
  data.groups.forEach((group, number) => {
    const parent = group.group === null ? null : groupNumber.get(group.group);
    parents.set(`g${number}`, parent);
    children.set(`g${number}`, []);
  });
  data.nodes.forEach((node, number) => {
    parents.set(`n${number}`, node.group === null ? null : groupNumber.get(node.group));
  });
  // In the order of the calls: a group stands where its first call stands.
  const placed = new Set();
  data.nodes.forEach((_, number) => {
    for (let item = `n${number}`; item !== null && !placed.has(item); item = parents.get(item)) {
      placed.add(item);
      children.get(parents.get(item)).push(item);
    }
  });
  const makers = new Map();
  const edges = [];
  data.nodes.forEach((node, number) => {
    for (const tensor of new Set(node.inputs)) {
      if (makers.has(tensor)) edges.push({ source: `n${makers.get(tensor)}`, target: `n${number}`, tensor });
    }
    for (const tensor of node.outputs) makers.set(tensor, number);
  });
  const hierarchy = { parents, children, edges };
  hierarchy.around = (item) => {
    const found = [];
    for (let one = parents.get(item); one !== null; one = parents.get(one)) found.unshift(one);
    return found;
  };
  hierarchy.callsIn = (item) => (item[0] === "n" ? [item] : children.get(item).flatMap(hierarchy.callsIn));
  hierarchy.groups = data.groups.map((_, number) => `g${number}`).filter((group) => children.get(group).length);
  return hierarchy;
}

// Positions of everything visible: boxes (calls and folded groups), frames (open groups), routes of arrows.
function layOut(hierarchy, isOpen, widthOf) {
  const level = layOutLevel(null, hierarchy, isOpen, widthOf);
  const found = { boxes: new Map(), frames: new Map(), routes: [], width: level.width, height: level.height };
  placeLevel(level, 0, 0, found);
  return found;
}

function layOutLevel(group, hierarchy, isOpen, widthOf) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "TB", ...SPACING });
  graph.setDefaultEdgeLabel(() => ({}));
  const inner = new Map();
  for (const item of hierarchy.children.get(group)) {
    if (item[0] === "g" && isOpen(item)) {
      const level = layOutLevel(item, hierarchy, isOpen, widthOf);
      level.width = Math.max(level.width + 2 * FRAME.side, widthOf(item) + 24);
      level.height += level.head + level.foot;
      inner.set(item, level);
      graph.setNode(item, { width: level.width, height: level.height });
    } else {
      graph.setNode(item, { width: widthOf(item), height: BOX.height });
    }
  }
  const links = linksOf(group, hierarchy);
  for (const link of links.values()) {
    for (const end of [link.source, link.target]) {
      if (end[0] === "<" || end[0] === ">") graph.setNode(end, { width: 1, height: 1 });
    }
    graph.setEdge(link.source, link.target, { weight: link.source[0] === "<" || link.target[0] === ">" ? 1 : 2 });
  }
  dagre.layout(graph);
  const size = graph.graph();
  const isPort = (mark) => graph.nodes().some((name) => name[0] === mark);
  const [head, foot] = [isPort("<") ? FRAME.port : FRAME.head, isPort(">") ? 0 : FRAME.foot];
  return { group, graph, inner, links, head, foot, width: size.width || 0, height: size.height || 0 };
}

// The arrows of one level. Those that come from outside start at a port "<tensor", those that leave end at ">tensor".
function linksOf(group, hierarchy) {
  const links = new Map();
  for (const edge of hierarchy.edges) {
    const source = itemIn(group, edge.source, hierarchy) || `<${edge.tensor}`;
    const target = itemIn(group, edge.target, hierarchy) || `>${edge.tensor}`;
    if ((source[0] === "<" && target[0] === ">") || source === target) continue;
    const key = `${source} ${target}`;
    if (!links.has(key)) links.set(key, { source, target, edges: [] });
    links.get(key).edges.push(edge);
  }
  return links;
}

// The item directly in a group that is or holds a call; null for calls outside.
function itemIn(group, call, hierarchy) {
  let item = call;
  while (item !== null && hierarchy.parents.get(item) !== group) item = hierarchy.parents.get(item);
  return item;
}

function placeLevel(level, left, top, found) {
  const { graph } = level;
  for (const name of graph.nodes()) {
    if (name[0] === "<" || name[0] === ">") continue;
    const { x, y, width, height } = graph.node(name);
    const box = { x: left + x - width / 2, y: top + y - height / 2, width, height };
    const inside = level.inner.get(name);
    if (!inside) {
      found.boxes.set(name, box);
      continue;
    }
    found.frames.set(name, box);
    const slack = (width - 2 * FRAME.side - graphWidth(inside)) / 2;
    inside.left = box.x + FRAME.side + slack;
    inside.top = box.y;
    placeLevel(inside, inside.left, box.y + inside.head, found);
  }
  for (const link of level.links.values()) {
    const points = graph.edge(link.source, link.target).points.map(({ x, y }) => ({ x: left + x, y: top + y }));
    const bottom = level.group === null ? 0 : found.frames.get(level.group);
    if (link.source[0] === "<") points[0] = { x: left + graph.node(link.source).x, y: bottom.y };
    if (link.target[0] === ">") {
      points[points.length - 1] = { x: left + graph.node(link.target).x, y: bottom.y + bottom.height };
    }
    const tensor = link.edges[0].tensor;
    meetPort(points, 0, level.inner.get(link.source), `>${tensor}`);
    meetPort(points, points.length - 1, level.inner.get(link.target), `<${tensor}`);
    if (points.length === 3) points[1].x = (points[0].x + points[2].x) / 2;
    found.routes.push({ points, edges: link.edges, ends: link.target[0] !== ">" && !level.inner.has(link.target) });
  }
}

function graphWidth(level) {
  return level.graph.graph().width || 0;
}

// An arrow to or from an open group goes on where the group's own arrow begins.
function meetPort(points, place, inside, port) {
  if (inside && inside.graph.hasNode(port)) points[place].x = inside.left + inside.graph.node(port).x;
}

// A smooth line through the middle of each bend.
function routePath(points) {
  const [first] = points;
  const last = points[points.length - 1];
  if (points.length < 3) return `M${first.x},${first.y}L${last.x},${last.y}`;
  let path = `M${first.x},${first.y}`;
  for (let place = 1; place < points.length - 1; place += 1) {
    const here = points[place];
    const next = points[place + 1];
    const end = place === points.length - 2 ? next : { x: (here.x + next.x) / 2, y: (here.y + next.y) / 2 };
    path += `Q${here.x},${here.y} ${end.x},${end.y}`;
  }
  return path;
}
