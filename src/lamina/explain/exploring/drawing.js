// The graph as SVG, and the view onto it: zoom and pan.

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const ruler = document.createElement("canvas").getContext("2d");

function textWidth(text, font) {
  ruler.font = font;
  return ruler.measureText(text).width;
}

const FONTS = {};
function readFonts() {
  const family = getComputedStyle(document.body).fontFamily;
  FONTS.name = `600 12.5px ${family}`;
  FONTS.small = `11px ${family}`;
}

function shortened(text, font, room) {
  if (textWidth(text, font) <= room) return text;
  let kept = text.length;
  while (kept > 1 && textWidth(`${text.slice(0, kept)}…`, font) > room) kept -= 1;
  return `${text.slice(0, kept)}…`;
}

// One size of a shape: a number; "None" where the model leaves it open, "?" where it is not known for this input.
function sizeText(size, isOpen) {
  return size === null ? (isOpen ? "None" : "?") : String(size);
}

function shapeText(shape, given) {
  if (shape === null) return "–";
  return shape
    .map((size, axis) => [size, given && axis < given.length ? given[axis] === null : true])
    .slice(1)
    .map(([size, isOpen]) => sizeText(size, isOpen))
    .join(" × ") || "one number";
}

// What a box shows: texts, state, findings, whether it is a folded group.
function boxElement(item, place, shown) {
  const inner = place.width - 2 * BOX.padding;
  const sizeRoom = textWidth(shown.size, FONTS.small);
  const element = svg(
    "g",
    { id: `box-${item}`, class: "box", transform: `translate(${place.x},${place.y})`, role: "button", tabindex: -1 },
    svg("title", {}, shown.title),
  );
  if (shown.isGroup) {
    element.append(svg("rect", { class: "pile", x: 4, y: 4, width: place.width, height: place.height, rx: 7 }));
  }
  element.append(
    svg("rect", { class: "body", width: place.width, height: place.height, rx: 7 }),
    svg("text", { class: "name", x: BOX.padding, y: 19 }, shortened(shown.name, FONTS.name, inner)),
    svg("text", { class: "kind", x: BOX.padding, y: 36 }, shortened(shown.kind, FONTS.small, inner - sizeRoom - 10)),
    svg("text", { class: "size", x: place.width - BOX.padding, y: 36 }, shown.size),
  );
  return element;
}

function badgeElement(x, text, bad) {
  return svg(
    "g",
    { class: bad ? "badge bad" : "badge", transform: `translate(${x},0)` },
    svg("circle", { r: 8.5 }),
    svg("text", { y: 3.7 }, text),
  );
}

function frameElement(item, place, shown) {
  return svg(
    "g",
    { id: `box-${item}`, class: "frame", transform: `translate(${place.x},${place.y})`, role: "button", tabindex: -1 },
    svg("title", {}, shown.title),
    svg("rect", { class: "body", width: place.width, height: place.height, rx: 9 }),
    svg("text", { x: 12, y: 19 }, shortened(`▾ ${shown.name}`, FONTS.name, place.width - 20)),
  );
}

// The view: a scale and a shift, changed by wheel, drag, pinch, buttons and keys.
class View {
  constructor(surface, group) {
    this.surface = surface;
    this.group = group;
    this.scale = 1;
    this.x = this.y = 0;
    this.pointers = new Map();
    this.dragged = false;
    surface.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    surface.addEventListener("pointerdown", (event) => this.onDown(event));
    surface.addEventListener("pointermove", (event) => this.onMove(event));
    for (const end of ["pointerup", "pointercancel"]) surface.addEventListener(end, (event) => this.onUp(event));
  }

  apply() {
    this.group.setAttribute("transform", `translate(${this.x},${this.y}) scale(${this.scale})`);
  }

  zoom(factor, x = this.surface.clientWidth / 2, y = this.surface.clientHeight / 2) {
    const scale = Math.min(4, Math.max(0.02, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.apply();
  }

  onWheel(event) {
    event.preventDefault();
    const box = this.surface.getBoundingClientRect();
    const unit = event.deltaMode === 1 ? 16 : 1;
    this.zoom(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX - box.left, event.clientY - box.top);
  }

  onDown(event) {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.pointers.size === 1) {
      this.dragged = false;
      this.start = { x: event.clientX, y: event.clientY };
    }
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    if (!this.dragged && Math.hypot(now.x - this.start.x, now.y - this.start.y) < 4) return;
    if (!this.dragged) {
      this.dragged = true; // from here on no click; the pointer may leave the surface
      this.surface.setPointerCapture(event.pointerId);
      this.surface.classList.add("dragged");
    }
    const other = [...this.pointers.entries()].find(([key]) => key !== event.pointerId);
    if (other) {
      const box = this.surface.getBoundingClientRect();
      const apart = (point) => Math.hypot(point.x - other[1].x, point.y - other[1].y) || 1;
      this.zoom(apart(now) / apart(before), (now.x + other[1].x) / 2 - box.left, (now.y + other[1].y) / 2 - box.top);
    } else {
      this.x += now.x - before.x;
      this.y += now.y - before.y;
      this.apply();
    }
    this.pointers.set(event.pointerId, now);
  }

  onUp(event) {
    this.pointers.delete(event.pointerId);
    this.surface.classList.remove("dragged");
  }

  fit(width, height, mostScale = 1) {
    const { clientWidth, clientHeight } = this.surface;
    this.scale = Math.min(mostScale, (clientWidth - 48) / width, (clientHeight - 48) / height);
    this.x = (clientWidth - width * this.scale) / 2;
    this.y = Math.max(24, (clientHeight - height * this.scale) / 2);
    this.apply();
  }

  // From the top, as large as is legible; `middle` is what the eye follows.
  startAt(middle, width) {
    const { clientWidth } = this.surface;
    this.scale = Math.max(0.6, Math.min(1, (clientWidth - 32) / width));
    this.x = clientWidth / 2 - middle * this.scale;
    this.y = 24;
    this.apply();
  }

  // Moves as little as is needed to show a place; `below` is room that something covers.
  show(place, below = 0) {
    const margin = 32;
    const { clientWidth, clientHeight } = this.surface;
    const left = place.x * this.scale + this.x;
    const top = place.y * this.scale + this.y;
    const right = left + place.width * this.scale;
    const bottom = top + Math.min(place.height, 60) * this.scale;
    const room = clientHeight - below;
    if (left < margin || right > clientWidth - margin) this.x += clientWidth / 2 - (left + right) / 2;
    if (top < margin || bottom > room - margin) this.y += room / 2 - (top + bottom) / 2;
    this.apply();
  }
}
