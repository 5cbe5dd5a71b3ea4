// What the official library of MapLibre, and the evaluator of our Leaflet styles, say of styles: one question a line in
// JSON, one answer a line.  `build.py` compiles it into judge.bundle.mjs.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { featureFilter, latest, normalizePropertyExpression, validateStyleMin } from "@maplibre/maplibre-gl-style-spec";

// An expression that fails while it is evaluated gives the property's default and says so here: no test may miss it.
let warnings = [];
console.warn = (...said) => warnings.push(said.join(" "));

/** What the official validator holds against a style. */
function validate({ style }) {
  return validateStyleMin(style).map(({ message }) => message);
}

/**
 * Of each feature the layers that draw it, bottom first, with the value of every property.
 *
 * `cases` are [zoom at 512-pixel tiles, feature] with {type, properties}; every layer is asked, as none is switched off.
 */
function draw({ style, cases }) {
  const layers = style.layers.map(compiled);
  return cases.map(([zoom, feature]) => layers.flatMap((layer) => layer(zoom, feature)));
}

function compiled(layer) {
  const { filter } = featureFilter(layer.filter);
  const values = {};
  for (const group of ["layout", "paint"]) {
    for (const [name, spec] of Object.entries(latest[`${group}_${layer.type}`])) {
      const given = layer[group]?.[name] ?? spec.default;
      // Several properties have no value unless it is given.
      const expression = given === undefined ? null : normalizePropertyExpression(given, spec);
      values[name] = (zoom, feature) => plain(expression?.evaluate({ zoom }, feature) ?? null);
    }
  }
  return (zoom, feature) => {
    if (zoom < (layer.minzoom ?? 0) || zoom >= (layer.maxzoom ?? Infinity)) return [];
    // Filters are asked at the zoom of the tile, which is whole.
    if (!filter({ zoom: Math.floor(zoom) }, feature)) return [];
    const drawn = Object.entries(values).map(([name, value]) => [name, value(zoom, feature)]);
    return [{ id: layer.id, type: layer.type, ...Object.fromEntries(drawn) }];
  };
}

/** A value as JSON has it: a colour as [r, g, b, a] with 0 to 1, not multiplied. */
function plain(value) {
  if (value && typeof value === "object" && "r" in value && "a" in value) {
    return [value.r, value.g, value.b].map((part) => (value.a ? part / value.a : 0)).concat(value.a);
  }
  return value && typeof value === "object" && "sections" in value ? value.toString() : value;
}

/** What our Leaflet evaluator at `module` gives for each of `cases`: [zoom at 256-pixel tiles, feature]. */
async function leaflet({ module, style, cases }) {
  const { styleOf } = await evaluatorAt(module);
  return cases.map(([zoom, feature]) => styleOf(style, feature.properties, zoom));
}

const evaluators = new Map();

/** Its name ends in .js, which node takes for something else unless the text is handed to it. */
function evaluatorAt(path) {
  if (!evaluators.has(path)) {
    const text = readFileSync(path, "utf8");
    evaluators.set(path, import(`data:text/javascript;base64,${Buffer.from(text).toString("base64")}`));
  }
  return evaluators.get(path);
}

const QUESTIONS = { validate, draw, leaflet };

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, ...question } = JSON.parse(line);
  warnings = [];
  try {
    const answer = await QUESTIONS[ask](question);
    console.log(JSON.stringify({ answer, warnings }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.stack ?? error) }));
  }
}
