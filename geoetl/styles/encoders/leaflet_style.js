/**
 * The path options of a feature under a Leaflet style of geoetl, which is data: `{default, rules}`.
 *
 * Every rule whose filter is true, and whose zooms hold the present one, lays its options over those before it.  A
 * filter is CQL2 JSON (OGC 21-065r2) with its three truth values; whatever this module does not know never matches.
 * `geoetl/styles/encoders/leaflet.py` says the same in Python, and a test that both agree.
 *
 *     import { leafletOptions } from "./leaflet_style.js";
 *     const layer = L.geoJSON(features, leafletOptions(L, style, () => map.getZoom())).addTo(map);
 *     map.on("zoomend", () => restyle(layer, style, map.getZoom()));
 */

/** What a style may set: the options of L.Path, and the radius of L.CircleMarker. */
export const PATH_OPTIONS = Object.freeze([
  "stroke", "color", "weight", "opacity", "lineCap", "lineJoin", "dashArray", "fill", "fillColor", "fillOpacity",
  "radius",
]);

// As in the Python module: a longer pattern, or a deeper filter, is none that a person wrote.
const MAX_PATTERN_LENGTH = 500;
const MAX_DEPTH = 64;

/** A filter, or a part of it, that this module cannot judge. */
class Unusable extends Error {}

/**
 * Return the path options of a feature.
 *
 * @param {{default?: object, rules?: object[]}} document - The style.
 * @param {object|null} properties - The properties of a GeoJSON feature.
 * @param {number} [zoom] - Zoom of the map at 256-pixel tiles; left out, no rule with zooms matches.
 */
export function styleOf(document, properties, zoom) {
  const options = {};
  lay(options, document.default);
  for (const rule of document.rules ?? []) {
    if (holds(rule, zoom) && matches(rule.filter, properties)) lay(options, rule.style);
  }
  return options;
}

/** Return whether a filter is true of the properties of a feature; what is unknown, or not known here, is not. */
export function matches(filter, properties) {
  try {
    return truth(filter, properties ?? {}, 0) === true;
  } catch (error) {
    if (error instanceof Unusable) return false;
    throw error;
  }
}

/**
 * Return the options that make an L.geoJSON layer look as styled: `style` and `pointToLayer`.
 *
 * @param {object} L - Leaflet.
 * @param {object} document - The style.
 * @param {() => number} zoomOf - Tells the present zoom of the map.
 */
export function leafletOptions(L, document, zoomOf) {
  const style = (feature) => styleOf(document, feature?.properties, zoomOf());
  return { style, pointToLayer: (feature, place) => L.circleMarker(place, style(feature)) };
}

/** Style an L.geoJSON layer anew, after the zoom has changed: what no rule sets any more is as in the default. */
export function restyle(layer, document, zoom) {
  layer.setStyle((feature) => styleOf(document, feature?.properties, zoom));
}

function lay(options, more) {
  for (const name of PATH_OPTIONS) {
    if (more && Object.hasOwn(more, name)) options[name] = more[name];
  }
}

/** The lower zoom belongs to a rule, the upper does not, as in MapLibre. */
function holds(rule, zoom) {
  if (rule.minZoom != null && !(zoom >= rule.minZoom)) return false;
  return rule.maxZoom == null || zoom < rule.maxZoom;
}

// -- conditions: true, false, or null for unknown -----------------------------------------------------------------

const ORDER = { "<": (sign) => sign < 0, "<=": (sign) => sign <= 0, ">": (sign) => sign > 0, ">=": (sign) => sign >= 0 };

function truth(node, properties, depth) {
  if (typeof node === "boolean") return node;
  if (!isObject(node) || depth > MAX_DEPTH) throw new Unusable();
  if (typeof node.property === "string") {
    const flag = columnOf(properties, node.property);
    return flag?.kind === "boolean" ? flag.value : null;
  }
  const among = (index) => value(node.args[index], properties, depth + 1);
  switch (node.op) {
    case "and":
    case "or": {
      need(node, 1, Infinity);
      const parts = node.args.map((part) => truth(part, properties, depth + 1));
      const decides = node.op === "or";
      if (parts.includes(decides)) return decides;
      return parts.includes(null) ? null : !decides;
    }
    case "not": {
      need(node, 1);
      const inner = truth(node.args[0], properties, depth + 1);
      return inner === null ? null : !inner;
    }
    case "=":
    case "<>":
    case "<":
    case "<=":
    case ">":
    case ">=":
      need(node, 2);
      return compared(node.op, among(0), among(1));
    case "between":
      need(node, 3);
      return both(compared(">=", among(0), among(1)), compared("<=", among(0), among(2)));
    case "in": {
      need(node, 2);
      const members = node.args[1];
      if (!Array.isArray(members) || members.length === 0) throw new Unusable();
      const one = among(0);
      const found = members.map((member) => compared("=", one, value(member, properties, depth + 1)));
      return found.includes(true) ? true : found.includes(null) ? null : false;
    }
    case "like": {
      need(node, 2);
      const [text, pattern] = [among(0), node.args[1]];
      if (typeof pattern !== "string" || [...pattern].length > MAX_PATTERN_LENGTH || text?.kind === "time") {
        throw new Unusable();
      }
      if (text === null) return null;
      return text.kind === "text" && isLike(text.value, pattern);
    }
    case "isNull": {
      need(node, 1);
      const [inner] = node.args;
      return (isProperty(inner) ? columnOf(properties, inner.property) : among(0)) === null;
    }
    default:
      throw new Unusable();
  }
}

function both(a, b) {
  return a === false || b === false ? false : a === null || b === null ? null : true;
}

/** A number never equals a text, and has no order among texts: then `=` is false, `<` unknown. */
function compared(op, a, b) {
  if (a?.kind === "time" || b?.kind === "time") [a, b] = [asTime(a), asTime(b)];
  if (a === null || b === null) return null;
  const alike = a.kind === b.kind;
  if (op === "=") return alike && isEqual(a, b);
  if (op === "<>") return !(alike && isEqual(a, b));
  if (!alike || a.kind === "boolean") return null;
  return ORDER[op](sign(a, b));
}

function isEqual(a, b) {
  if (a.kind !== "time") return a.value === b.value;
  return (b.first <= a.first && a.last <= b.last) || (a.first <= b.first && b.last <= a.last);
}

/** Of times: before is wholly before; a day and a moment of it are equal. */
function sign(a, b) {
  if (a.kind === "number") return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
  if (a.kind === "time") return isEqual(a, b) ? 0 : a.last < b.first ? -1 : a.first > b.last ? 1 : NaN;
  const [left, right] = [[...a.value], [...b.value]]; // by letters, not by halves of surrogate pairs
  for (let index = 0; index < left.length && index < right.length; index += 1) {
    if (left[index] !== right[index]) return left[index].codePointAt(0) - right[index].codePointAt(0);
  }
  return left.length - right.length;
}

// -- values: {kind, value}, or null where it is missing -----------------------------------------------------------

const ARITHMETIC = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
  "^": (a, b) => a ** b,
  "%": (a, b) => a % b,
  div: (a, b) => Math.trunc(a / b),
};

function value(node, properties, depth) {
  const literal = scalar(node);
  if (literal) return { ...literal, isLiteral: true };
  if (!isObject(node) || depth > MAX_DEPTH) throw new Unusable();
  if (isProperty(node)) {
    const column = columnOf(properties, node.property);
    if (column?.kind === "list") throw new Unusable();
    return column;
  }
  if ("date" in node || "timestamp" in node) return literalTime(node.timestamp ?? node.date, !("timestamp" in node));
  if (Object.hasOwn(ARITHMETIC, node.op)) {
    need(node, 2);
    const [a, b] = node.args.map((part) => value(part, properties, depth + 1));
    if (a?.kind !== "number" || b?.kind !== "number") return null;
    return scalar(ARITHMETIC[node.op](a.value, b.value));
  }
  if (node.op === "casei") {
    need(node, 1);
    const inner = value(node.args[0], properties, depth + 1);
    if ((inner?.isLiteral && inner.kind !== "text") || inner?.kind === "time") throw new Unusable();
    return inner?.kind === "text" ? { ...inner, value: folded(inner.value) } : null;
  }
  const flag = truth(node, properties, depth);
  return flag === null ? null : { kind: "boolean", value: flag };
}

function columnOf(properties, name) {
  const found = Object.hasOwn(properties, name) ? properties[name] : null;
  return Array.isArray(found) ? { kind: "list" } : scalar(found);
}

function scalar(found) {
  switch (typeof found) {
    case "string": return { kind: "text", value: found };
    case "boolean": return { kind: "boolean", value: found };
    case "number": return Number.isFinite(found) ? { kind: "number", value: found } : null;
    default: return null;
  }
}

function isObject(node) {
  return typeof node === "object" && node !== null && !Array.isArray(node);
}

function isProperty(node) {
  return isObject(node) && typeof node.property === "string";
}

function need(node, least, most = least) {
  const count = Array.isArray(node.args) ? node.args.length : -1;
  if (count < least || count > most) throw new Unusable();
}

// -- times: their first and last microsecond since 1970 UTC -------------------------------------------------------

const TIME = /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?(Z|[+-]\d{2}:?\d{2})?)?$/;
const DAY_US = 86_400_000_000n;

function asTime(column) {
  if (column?.isLiteral && column.kind !== "time") {
    if (column.kind !== "text") throw new Unusable();
    return literalTime(column.value, column.value.length === 10);
  }
  return column?.kind === "text" ? moments(column.value) ?? column : column;
}

function literalTime(text, isDay) {
  const time = typeof text === "string" && (text.length === 10) === isDay ? moments(text) : null;
  if (time === null) throw new Unusable();
  return { ...time, isLiteral: true };
}

/** Return the moments that an RFC 3339 date or time stands for; one without a zone is in UTC. */
function moments(text) {
  const found = TIME.exec(text);
  if (found === null) return null;
  const [year, month, day, hour = 0, minute = 0, second = 0] = found.slice(1, 7).map((part) => part && Number(part));
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (year < 1 || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null;
  if (hour > 23 || minute > 59 || second > 59) return null;
  const midnight = BigInt(date.getTime()) * 1000n;
  if (found[4] === undefined) return { kind: "time", first: midnight, last: midnight + DAY_US - 1n };
  const fraction = BigInt((found[7] ?? "").slice(0, 6).padEnd(6, "0"));
  const at = midnight + BigInt(hour * 3600 + minute * 60 + second - offset(found[8])) * 1_000_000n + fraction;
  return { kind: "time", first: at, last: at };
}

/** Return the seconds by which a zone is ahead of UTC. */
function offset(zone) {
  if (zone === undefined || zone === "Z") return 0;
  const seconds = Number(zone.slice(1, 3)) * 3600 + Number(zone.slice(-2)) * 60;
  return zone[0] === "-" ? -seconds : seconds;
}

// -- texts --------------------------------------------------------------------------------------------------------

/** Return a text without the difference of upper and lower case (Unicode case folding). */
function folded(text) {
  return [...text]
    .map((letter) => {
      // Cherokee folds to its capitals, and the dotless i to itself (CaseFolding.txt of Unicode).
      if (letter === "\u0131") return letter;
      return /\p{Script=Cherokee}/u.test(letter) ? letter.toUpperCase() : letter.toUpperCase().toLowerCase();
    })
    .join("");
}

/**
 * Return whether a text matches a CQL2 pattern: `%` any text, `_` any letter, `\` takes the next letter as it is.
 *
 * The last `%` is tried again one letter further on, so that no pattern takes longer than its length times the text's.
 */
function isLike(text, pattern) {
  const letters = [...text];
  const steps = stepsOf(pattern);
  let [at, step, afterAny, retryAt] = [0, 0, -1, 0];
  while (at < letters.length) {
    if (step < steps.length && steps[step] === ANY) {
      step += 1;
      [afterAny, retryAt] = [step, at];
    } else if (step < steps.length && (steps[step] === ONE || steps[step] === letters[at])) {
      [at, step] = [at + 1, step + 1];
    } else if (afterAny >= 0) {
      retryAt += 1;
      [at, step] = [retryAt, afterAny];
    } else {
      return false;
    }
  }
  return steps.slice(step).every((one) => one === ANY);
}

const [ANY, ONE] = [Symbol("any text"), Symbol("any letter")];

function stepsOf(pattern) {
  const [steps, letters] = [[], [...pattern]];
  for (let index = 0; index < letters.length; index += 1) {
    if (letters[index] === "\\") {
      index += 1;
      steps.push(letters[index] ?? "\\");
    } else {
      steps.push({ "%": ANY, "_": ONE }[letters[index]] ?? letters[index]);
    }
  }
  return steps;
}
