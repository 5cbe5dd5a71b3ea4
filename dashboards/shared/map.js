// The map: MapLibre GL with an offline base map, data layers in the order that Python gives, footprints and markers.
// Python owns the state; this module draws it and reports clicks and camera moves.

import maplibregl from "maplibre-gl"
import {FileSource, PMTiles, Protocol} from "pmtiles"

const LIGHT = {
  sea: "#cfdde6", land: "#f6f4ef", coast: "#8c9aa3", border: "#a8a294", name: "#4a5358", halo: "#f6f4ef",
  over: "#22303a", footprint: "#0b6b6b", chosen: "#b34700",
}
const DARK = {
  sea: "#0f1519", land: "#1d262c", coast: "#4d5d67", border: "#44525b", name: "#aab6bd", halo: "#141b20",
  over: "#e8eef1", footprint: "#5fc9c3", chosen: "#ffa657",
}
// Data are drawn below this layer; coast, borders and names stay readable above them.
const ABOVE_DATA = "over-coast"
const NO_FEATURES = {type: "FeatureCollection", features: []}
// Natural Earth counts zoom in tiles of 256 pixels, MapLibre in tiles of 512.
const NAMED_FROM = ["<=", ["get", "zoom"], ["+", ["zoom"], 1.2]]
// The whole globe fills the height of a usual window.
const SMALLEST_GLOBE_ZOOM = 1.8
const MOVE_REPORT_MS = 200
const CLICK_RADIUS_PX = 5
// Scale at zoom 0 of tiles of 512 pixels at the equator, of pixels of 0.28 mm (OGC 17-083r4, WebMercatorQuad).
const DENOMINATOR_AT_ZOOM_0 = 559082264.028717 / 2
// Maps of one link show the same place.
const linked = new Map()
const ICONS = {
  plus: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z",
  minus: "M5 11h14v2H5z",
  fit: "M4 4h6v2H6v4H4zm10 0h6v6h-2V6h-4zM4 14h2v4h4v2H4zm14 0h2v6h-6v-2h4z",
  globe: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20m6.9 6h-2.95a15.7 15.7 0 0 0-1.38-3.56A8.03 8.03 0 0 1 18.92 8M12 4.04c.83 1.2 1.48 2.53 1.91 3.96h-3.82c.43-1.43 1.08-2.76 1.91-3.96M4.26 14a8 8 0 0 1 0-4h3.38a16.5 16.5 0 0 0 0 4zm.82 2h2.95c.32 1.25.78 2.45 1.38 3.56A8 8 0 0 1 5.08 16m2.95-8H5.08a8 8 0 0 1 4.33-3.56A15.7 15.7 0 0 0 8.03 8M12 19.96A14 14 0 0 1 10.09 16h3.82A14 14 0 0 1 12 19.96M14.34 14H9.66a14.7 14.7 0 0 1 0-4h4.68a14.7 14.7 0 0 1 0 4m.25 5.56c.6-1.11 1.06-2.31 1.38-3.56h2.95a8.03 8.03 0 0 1-4.33 3.56M16.36 14a16.5 16.5 0 0 0 0-4h3.38a8 8 0 0 1 0 4z",
}

let protocol = null

function pmtilesProtocol() {
  if (protocol === null) {
    protocol = new Protocol({metadata: true})
    maplibregl.addProtocol("pmtiles", protocol.tile)
  }
  return protocol
}

const absolute = (url) => new URL(url, document.baseURI).href
// A template keeps its {z}, {x} and {y}, which an address would encode.
const template = (url) => absolute(url).replaceAll("%7B", "{").replaceAll("%7D", "}")

async function archiveOf(url) {
  const address = absolute(url)
  const known = pmtilesProtocol().get(address)
  if (known) { return known }
  if (!url.startsWith("data:")) {
    const archive = new PMTiles(address)
    pmtilesProtocol().add(archive)
    return archive
  }
  // A notebook has no server to ask: the archive came with the layer.
  const blob = await (await fetch(url)).blob()
  const name = `inline-${url.length}-${url.slice(-32).replace(/[^A-Za-z0-9]/g, "")}`
  const archive = pmtilesProtocol().get(name) ?? new PMTiles(new FileSource(new File([blob], name)))
  pmtilesProtocol().add(archive)
  return archive
}

// TopoJSON: each arc begins at a place, in steps of the transform, and goes on by differences.
function features(topology, name) {
  const {scale: [sx, sy], translate: [tx, ty]} = topology.transform
  const place = ([x, y]) => [x * sx + tx, y * sy + ty]
  const line = ([number]) => {
    let [x, y] = [0, 0]
    return topology.arcs[number].map(([dx, dy]) => place([x += dx, y += dy]))
  }
  const feature = (geometry, properties = {}) => ({type: "Feature", properties: {kind: name, ...properties}, geometry})
  const object = topology.objects[name]
  if (object.type === "GeometryCollection") {
    return object.geometries.map((g) => feature({type: g.type, coordinates: place(g.coordinates)}, g.properties))
  }
  const coordinates = object.type === "MultiPolygon" ? object.arcs.map((rings) => rings.map(line)) : object.arcs.map(line)
  return [feature({type: object.type, coordinates})]
}

async function landOf(base) {
  const topology = base.data ?? (base.url ? await (await fetch(absolute(base.url))).json() : null)
  if (!topology) { return NO_FEATURES }
  return {type: "FeatureCollection", features: ["land", "borders", "names"].flatMap((name) => features(topology, name))}
}

function button(label, icon, onClick) {
  const element = document.createElement("button")
  element.type = "button"
  element.title = label
  element.setAttribute("aria-label", label)
  element.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[icon]}"/></svg>`
  element.addEventListener("click", onClick)
  return element
}

function div(className, attributes = {}) {
  const element = document.createElement("div")
  element.className = className
  for (const [name, value] of Object.entries(attributes)) { element.setAttribute(name, value) }
  return element
}

const wrapped = (lon) => ((lon + 180) % 360 + 360) % 360 - 180

function place(lon, lat) {
  const east = wrapped(lon)
  const text = (value, positive, negative) =>
    `${Math.abs(value).toFixed(3)}° ${value >= 0 ? positive : negative}`
  return `${text(lat, "N", "S")}  ${text(east, "E", "W")}`
}

// A feature's own scalar properties, which together pick it out of the tiles again.
function sameFeature(feature) {
  const tests = Object.entries(feature.properties ?? {})
    .filter(([, value]) => ["string", "number", "boolean"].includes(typeof value))
    .slice(0, 12)
    .map(([name, value]) => ["==", ["get", name], value])
  return tests.length ? ["all", ...tests] : ["boolean", false]
}

// An opacity of a style, times how much of the layer is shown; a zoom may only stand at the top of an expression.
function scaled(value, factor) {
  if (factor === 1) { return value }
  if (typeof value === "number") { return value * factor }
  if (Array.isArray(value) && ["step", "interpolate"].includes(value[0]) && JSON.stringify(value).includes('["zoom"]')) {
    const outputs = value[0] === "step" ? (index) => index === 2 || (index > 3 && index % 2 === 0) : (index) => index > 3 && index % 2 === 0
    return value.map((part, index) => outputs(index) ? scaled(part, factor) : part)
  }
  return ["*", factor, value]
}

const OPACITIES = {
  fill: ["fill-opacity"], line: ["line-opacity"], circle: ["circle-opacity", "circle-stroke-opacity"],
  symbol: ["icon-opacity", "text-opacity"], "fill-extrusion": ["fill-extrusion-opacity"], heatmap: ["heatmap-opacity"],
}

// The letters are drawn with this machine's fonts; a style's own are asked of nobody.
const FONTS = ["Roboto", "sans-serif"]

class GeoMap {
  constructor(model, frame, canvas) {
    this.model = model
    this.frame = frame
    this.drawn = new Map()
    this.markers = []
    this.serial = 0
    this.fitted = null
    this.colours = model.dark ? DARK : LIGHT
    this.land = landOf(model.base)
    this.map = new maplibregl.Map({
      container: canvas,
      style: this.style(),
      center: model.camera?.center ?? [10, 20],
      zoom: model.camera?.zoom ?? 1.2,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      maxPitch: 0,
      fadeDuration: 0,
      locale: {"Map.Title": "Map. Arrow keys move, plus and minus zoom, Enter reads the value at the centre."},
    })
    this.map.touchZoomRotate.disableRotation()
    this.map.keyboard.disableRotation()
    this.scale = new maplibregl.ScaleControl({maxWidth: 96, unit: "metric"})
    this.map.on("style.load", () => this.onStyle())
    this.map.on("move", () => this.moved())
    this.map.on("moveend", () => this.reportSoon())
    this.map.on("click", (event) => this.report(event.lngLat, event.point))
    this.map.on("mousemove", (event) => this.hover(event))
    this.map.on("mouseout", () => { this.readout.textContent = "" })
    this.map.on("error", (event) => this.onError(event))
    this.map.getCanvas().addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        const centre = this.map.getCenter()
        this.report(centre, this.map.project(centre))
      }
    })
  }

  // ---- base map -------------------------------------------------------------------------------------------------

  style() {
    const {base} = this.model
    const colours = this.colours
    const own = !base.tile_url
    const kind = (name) => ["==", ["get", "kind"], name]
    const layers = [{id: "sea", type: "background", paint: {"background-color": colours.sea}}]
    const sources = {
      base: {type: "geojson", data: NO_FEATURES, tolerance: 0.2},
      footprints: {type: "geojson", data: this.model.footprints ?? NO_FEATURES},
    }
    if (own) {
      layers.push(
        {id: "land", type: "fill", source: "base", filter: kind("land"), paint: {"fill-color": colours.land}},
        {id: "coast", type: "line", source: "base", filter: kind("land"),
          paint: {"line-color": colours.coast, "line-width": 0.7}},
        {id: "border", type: "line", source: "base", filter: kind("borders"),
          paint: {"line-color": colours.border, "line-width": 0.6}},
      )
    } else {
      sources.tiles = {type: "raster", tiles: [base.tile_url], tileSize: 256, attribution: base.attribution}
      layers.push({id: "tiles", type: "raster", source: "tiles"})
    }
    const over = (id, name, width) => ({
      id, type: "line", source: "base", filter: kind(name), layout: {visibility: "none"},
      paint: {"line-color": colours.over, "line-width": width, "line-opacity": this.model.dark ? 0.4 : 0.55},
    })
    layers.push(over("over-coast", "land", 0.8), over("over-border", "borders", 0.6))
    if (own) {
      layers.push({
        id: "names", type: "symbol", source: "base", filter: ["all", kind("names"), NAMED_FROM],
        // Without a glyphs address MapLibre draws the letters itself, with this machine's fonts.
        layout: {
          "text-field": ["get", "name"], "text-font": ["Roboto", "sans-serif"], "text-max-width": 7,
          "text-size": ["interpolate", ["linear"], ["zoom"], 1, 10, 6, 14], "text-padding": 6,
        },
        paint: {"text-color": colours.name, "text-halo-color": colours.halo, "text-halo-width": 1.2, "text-opacity": 0.9},
      })
    }
    const paint = this.footprintPaint()
    layers.push(
      {id: "footprint-fill", type: "fill", source: "footprints", paint: paint["footprint-fill"]},
      {id: "footprint-line", type: "line", source: "footprints", paint: paint["footprint-line"]},
      {id: "footprint-point", type: "circle", source: "footprints", filter: ["==", ["geometry-type"], "Point"],
        paint: paint["footprint-point"]},
    )
    return {version: 8, projection: {type: this.model.globe ? "globe" : "mercator"}, sources, layers}
  }

  async onStyle() {
    this.drawn.clear()
    this.map.getSource("base").setData(await this.land)
    this.layersChanged()
    this.pointsChanged()
    this.fit(false)
    this.reportSoon()
    this.frame.dataset.theme = this.model.dark ? "dark" : "light"
    this.frame.dataset.ready = "true"
  }

  restyle() {
    this.colours = this.model.dark ? DARK : LIGHT
    this.frame.dataset.ready = "false"
    this.map.setStyle(this.style(), {diff: false})
  }

  // ---- data layers ----------------------------------------------------------------------------------------------

  layersChanged() {
    if (!this.map.style?._loaded) { return }
    const wanted = this.model.layers
    const ids = new Set(wanted.map((layer) => layer.id))
    for (const id of [...this.drawn.keys()]) {
      if (!ids.has(id)) { this.removeLayer(id) }
    }
    for (const layer of wanted) {
      const known = this.drawn.get(layer.id)
      const same = known && known.spec.kind === layer.kind && (layer.kind === "image" || known.spec.url === layer.url)
      if (same && String(known.spec.bounds) === String(layer.bounds)) {
        this.updateLayer(known, layer)
      } else {
        if (known) { this.removeLayer(layer.id) }
        this.addLayer(layer)
      }
    }
    // The list runs from top to bottom; the map stacks from bottom to top.
    let above = ABOVE_DATA
    for (const layer of wanted) {
      const parts = this.drawn.get(layer.id)?.parts ?? []
      for (const part of [...parts].reverse()) {
        this.map.moveLayer(part, above)
        above = part
      }
    }
    const covering = wanted.some((layer) => layer.visible && ["image", "tiles"].includes(layer.kind))
    for (const part of ["over-coast", "over-border"]) {
      this.map.setLayoutProperty(part, "visibility", covering ? "visible" : "none")
    }
    this.attributionChanged()
  }

  addLayer(layer) {
    const drawn = {spec: layer, parts: []}
    this.drawn.set(layer.id, drawn)
    const source = `data-${layer.id}`
    if (layer.kind === "image") {
      this.map.addSource(source, {type: "image", url: absolute(layer.url), coordinates: layer.corners})
      this.addPart(drawn, {id: source, type: "raster", source,
        paint: {"raster-fade-duration": 0, "raster-resampling": layer.resampling ?? "linear"}})
    } else if (layer.kind === "tiles") {
      this.map.addSource(source, {type: "raster", tiles: [template(layer.url)], tileSize: layer.tile_size ?? 256,
        ...(layer.bounds ? {bounds: layer.bounds} : {})})
      this.addPart(drawn, {id: source, type: "raster", source, paint: {"raster-fade-duration": 0}})
    } else if (layer.kind === "geojson") {
      this.map.addSource(source, {type: "geojson", data: layer.data ?? absolute(layer.url)})
      this.addVector(drawn, source, {})
    } else if (layer.kind === "styled" && layer.url.includes("{z}")) {
      const {minzoom = 0, maxzoom = 14, bounds} = layer
      this.map.addSource(source, {type: "vector", tiles: [template(layer.url)], minzoom, maxzoom, ...(bounds ? {bounds} : {})})
      this.addStyled(drawn, source)
    } else if (["pmtiles", "styled"].includes(layer.kind)) {
      this.addArchive(drawn, source)
    }
    this.paint(drawn)
  }

  async addArchive(drawn, source) {
    const layer = drawn.spec
    try {
      const archive = await archiveOf(layer.url)
      const metadata = await archive.getMetadata()
      if (this.drawn.get(layer.id) !== drawn) { return }
      this.map.addSource(source, {type: "vector", url: `pmtiles://${archive.source.getKey()}`})
      if (layer.kind === "styled") {
        this.addStyled(drawn, source)
      } else {
        for (const {id} of metadata.vector_layers ?? []) { this.addVector(drawn, source, {"source-layer": id}) }
      }
      this.paint(drawn)
      this.layersChanged()
    } catch (error) {
      this.model.send_msg({type: "layer_error", id: layer.id, message: String(error.message ?? error)})
    }
  }

  addVector(drawn, source, from) {
    const colour = drawn.spec.color ?? this.colours.footprint
    const suffix = from["source-layer"] ?? ""
    const shape = (name) => ["==", ["geometry-type"], name]
    const add = (name, type, rest) => this.addPart(drawn, {id: `${source}-${suffix}-${name}`, type, source, ...from, ...rest})
    add("fill", "fill", {filter: shape("Polygon"), paint: {"fill-color": colour}})
    add("line", "line", {filter: ["!=", ["geometry-type"], "Point"],
      paint: {"line-color": colour, "line-width": ["interpolate", ["linear"], ["zoom"], 1, 0.7, 8, 1.8]}})
    add("chosen", "line", {filter: ["boolean", false], paint: {"line-color": this.colours.chosen, "line-width": 2.6}})
    add("circle", "circle", {filter: shape("Point"),
      paint: {"circle-color": colour, "circle-radius": 4, "circle-stroke-color": "#ffffff", "circle-stroke-width": 1}})
  }

  // The layers of a MapLibre style document, drawn from our source.
  addStyled(drawn, source) {
    for (const part of this.partsOf(drawn.spec, source)) {
      try {
        this.addPart(drawn, part)
      } catch (error) {
        this.model.send_msg({type: "layer_error", id: drawn.spec.id, message: String(error.message ?? error)})
      }
    }
    const shapes = {"source-layer": drawn.spec.source_layer, type: "line", source}
    this.addPart(drawn, {...shapes, id: `${source}-chosen`, filter: ["boolean", false],
      paint: {"line-color": this.colours.chosen, "line-width": 2.6}})
    this.choose(drawn.chosen)
  }

  partsOf(layer, source) {
    return (layer.style?.layers ?? []).filter((part) => part.source).map((part) => {
      const layout = {...part.layout, visibility: layer.visible ? part.layout?.visibility ?? "visible" : "none"}
      if (part.type === "symbol" && layout["text-field"]) { layout["text-font"] = FONTS }
      const paint = {...part.paint}
      for (const name of OPACITIES[part.type] ?? []) { paint[name] = scaled(paint[name] ?? 1, layer.opacity) }
      return {...part, id: `${source}-${part.id}`, source, layout, paint}
    })
  }

  // What a changed style has changed, and nothing else: tiles stay, so the map neither reloads nor flickers.
  restyleLayer(drawn) {
    const source = `data-${drawn.spec.id}`
    const before = drawn.parts.filter((id) => !id.endsWith("-chosen")).map((id) => this.map.getStyle().layers.find((l) => l.id === id))
    const wanted = this.partsOf(drawn.spec, source)
    const kind = (part) => `${part.id} ${part.type} ${part["source-layer"]}`
    if (before.map(kind).join() !== wanted.map(kind).join()) {
      for (const part of drawn.parts) { this.map.removeLayer(part) }
      drawn.parts = []
      this.addStyled(drawn, source)
      return
    }
    wanted.forEach((part, index) => this.changePart(drawn, part, before[index]))
  }

  changePart(drawn, part, before) {
    const {id} = part
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)
    try {
      for (const [set, old, now] of [["setPaintProperty", before.paint, part.paint], ["setLayoutProperty", before.layout, part.layout]]) {
        for (const name of new Set([...Object.keys(old ?? {}), ...Object.keys(now)])) {
          if (!same(old?.[name], now[name])) { this.map[set](id, name, now[name] ?? null) }
        }
      }
      if (!same(before.filter, part.filter)) { this.map.setFilter(id, part.filter ?? null) }
      this.map.setLayerZoomRange(id, part.minzoom ?? 0, part.maxzoom ?? 24)
    } catch (error) {
      this.model.send_msg({type: "layer_error", id: drawn.spec.id, message: String(error.message ?? error)})
    }
  }

  addPart(drawn, part) {
    this.map.addLayer(part, ABOVE_DATA)
    drawn.parts.push(part.id)
  }

  updateLayer(drawn, layer) {
    const before = drawn.spec
    drawn.spec = layer
    if (layer.kind === "image" && (before.url !== layer.url || String(before.corners) !== String(layer.corners))) {
      this.map.getSource(`data-${layer.id}`).updateImage({url: absolute(layer.url), coordinates: layer.corners})
    }
    if (layer.kind !== "styled") {
      this.paint(drawn)
    } else if (this.map.getSource(`data-${layer.id}`)) {
      this.restyleLayer(drawn)
    }
  }

  paint(drawn) {
    const {opacity, visible, kind} = drawn.spec
    if (kind === "styled") { return }
    for (const part of drawn.parts) {
      const {type} = this.map.getLayer(part)
      this.map.setLayoutProperty(part, "visibility", visible ? "visible" : "none")
      this.map.setPaintProperty(part, `${type}-opacity`, type === "fill" ? opacity * 0.3 : opacity)
    }
  }

  removeLayer(id) {
    for (const part of this.drawn.get(id).parts) { this.map.removeLayer(part) }
    if (this.map.getSource(`data-${id}`)) { this.map.removeSource(`data-${id}`) }
    this.drawn.delete(id)
  }

  attributionChanged() {
    const texts = [this.model.base.attribution, ...this.model.layers.filter((l) => l.visible).map((l) => l.attribution)]
    this.credit.textContent = [...new Set(texts.filter(Boolean))].join(" · ")
    this.credit.title = this.credit.textContent
  }

  // ---- footprints, markers, camera ------------------------------------------------------------------------------

  footprintPaint() {
    const {footprint, chosen} = this.colours
    const isChosen = ["in", ["get", "id"], ["literal", this.model.chosen]]
    const colour = ["case", isChosen, chosen, footprint]
    return {
      "footprint-fill": {"fill-color": footprint, "fill-opacity": ["case", isChosen, 0, 0.04]},
      "footprint-line": {"line-color": colour, "line-width": ["case", isChosen, 2, 1.2]},
      "footprint-point": {"circle-radius": 5, "circle-color": colour},
    }
  }

  chosenChanged() {
    for (const [layer, paint] of Object.entries(this.footprintPaint())) {
      if (!this.map.getLayer(layer)) { continue }
      for (const [name, value] of Object.entries(paint)) { this.map.setPaintProperty(layer, name, value) }
    }
  }

  footprintsChanged() {
    this.map.getSource("footprints")?.setData(this.model.footprints ?? NO_FEATURES)
  }

  pointsChanged() {
    for (const marker of this.markers) { marker.remove() }
    this.markers = this.model.points.map((point) => {
      const element = div("marker", {role: "img", "aria-label": `Point ${point.label}`})
      element.style.setProperty("--marker", point.color)
      element.textContent = point.label
      return new maplibregl.Marker({element, anchor: "bottom"}).setLngLat([point.lon, point.lat]).addTo(this.map)
    })
    this.pulse?.remove()
  }

  showPulse(lngLat) {
    this.pulse?.remove()
    this.pulse = new maplibregl.Marker({element: div("pulse")}).setLngLat(lngLat).addTo(this.map)
    setTimeout(() => this.pulse?.remove(), 4000)
  }

  fit(animate = true) {
    const wanted = this.model.fit
    // What is not seen has no size to fit into: it goes there when it is seen again.
    if (!wanted?.bbox || this.fitted === wanted.serial || !this.map.getContainer().clientWidth) { return }
    this.fitted = wanted.serial
    this.map.resize()
    const [west, south, east, north] = wanted.bbox
    const still = !animate || wanted.exact || matchMedia("(prefers-reduced-motion: reduce)").matches
    this.map.fitBounds([[west, Math.max(south, -85)], [east < west ? east + 360 : east, Math.min(north, 85)]], {
      padding: wanted.exact ? 0 : this.room(), maxZoom: wanted.exact ? 22 : 11, duration: still ? 0 : 700, essential: true,
    })
  }

  // What panels cover is not part of the picture; on a narrow window there may be no room to keep free.
  room() {
    const {left = 0, right = 0, top = 0, bottom = 0} = this.model.padding ?? {}
    const {width, height} = this.map.getCanvas().getBoundingClientRect()
    const h = left + right + 120 < width ? 1 : Math.max(0, (width - 120) / (left + right || 1))
    const v = top + bottom + 120 < height ? 1 : Math.max(0, (height - 120) / (top + bottom || 1))
    return {left: left * h + 16, right: right * h + 16, top: top * v + 16, bottom: bottom * v + 16}
  }

  hover(event) {
    this.readout.textContent = place(event.lngLat.lng, event.lngLat.lat)
    const layers = ["footprint-line", "footprint-point", ...this.vectorParts()].filter((id) => this.map.getLayer(id))
    const over = layers.length && this.map.queryRenderedFeatures(event.point, {layers}).length
    this.map.getCanvas().style.cursor = this.model.inspecting || over ? "crosshair" : ""
  }

  vectorParts() {
    return [...this.drawn.values()]
      .filter((drawn) => drawn.spec.visible && ["pmtiles", "geojson", "styled"].includes(drawn.spec.kind))
      .flatMap((drawn) => drawn.parts.filter((part) => !part.endsWith("-chosen")))
  }

  report(lngLat, point) {
    this.showPulse(lngLat)
    const near = [[point.x - CLICK_RADIUS_PX, point.y - CLICK_RADIUS_PX], [point.x + CLICK_RADIUS_PX, point.y + CLICK_RADIUS_PX]]
    const footprints = this.map.queryRenderedFeatures(near, {layers: ["footprint-fill", "footprint-point"]})
    const vectors = this.vectorParts()
    const features = vectors.length ? this.map.queryRenderedFeatures(near, {layers: vectors}) : []
    this.choose(features[0])
    this.serial += 1
    this.model.send_msg({
      type: "click",
      serial: this.serial,
      lon: wrapped(lngLat.lng),
      lat: lngLat.lat,
      zoom: this.map.getZoom(),
      tolerance_deg: CLICK_RADIUS_PX * 360 / (512 * 2 ** this.map.getZoom()),
      footprints: [...new Set(footprints.map((feature) => feature.properties.id))],
      features: features.slice(0, 8).map((feature) => ({layer: feature.source.slice(5), properties: feature.properties})),
    })
  }

  choose(feature) {
    for (const drawn of this.drawn.values()) {
      drawn.chosen = feature
      for (const part of drawn.parts.filter((id) => id.endsWith("-chosen"))) {
        const own = feature && feature.source === `data-${drawn.spec.id}`
        this.map.setFilter(part, own ? sameFeature(feature) : ["boolean", false])
      }
    }
  }

  reportSoon() {
    clearTimeout(this.reporting)
    this.reporting = setTimeout(() => {
      const bounds = this.map.getBounds()
      const [west, east] = [bounds.getWest(), bounds.getEast()]
      const whole = east - west >= 360
      this.model.bounds = [
        whole ? -180 : wrapped(west), Math.max(bounds.getSouth(), -90), whole ? 180 : wrapped(east), Math.min(bounds.getNorth(), 90),
      ]
      const {lng, lat} = this.map.getCenter()
      this.model.view = {center: [wrapped(lng), lat], zoom: this.map.getZoom()}
    }, MOVE_REPORT_MS)
  }

  onError(event) {
    const source = event.sourceId ?? ""
    if (source.startsWith("data-")) {
      this.model.send_msg({type: "layer_error", id: source.slice(5), message: String(event.error?.message ?? "")})
    } else {
      console.warn("map:", event.error?.message)
    }
  }

  // At each moment of a move, without a way over Python: maps of one link move as one.
  moved() {
    this.showScale()
    if (this.following) { return }
    const {lng, lat} = this.map.getCenter()
    for (const other of linked.get(this.model.link) ?? []) {
      if (other === this) { continue }
      other.following = true
      other.map.jumpTo({center: [lng, lat], zoom: this.map.getZoom()})
      other.following = false
    }
  }

  showScale() {
    if (!this.denominator || !this.model.tells_scale) { return }
    const value = DENOMINATOR_AT_ZOOM_0 / 2 ** this.map.getZoom()
    const digits = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 2)
    this.denominator.textContent = `1 : ${(Math.round(value / digits) * digits).toLocaleString("en").replaceAll(",", "\u202f")}`
  }

  linkChanged() {
    for (const maps of linked.values()) { maps.delete(this) }
    if (!this.model.link) { return }
    const [other] = linked.get(this.model.link) ?? []
    if (other) { this.map.jumpTo({center: other.map.getCenter(), zoom: other.map.getZoom()}) }
    linked.set(this.model.link, (linked.get(this.model.link) ?? new Set()).add(this))
  }

  // ---- furniture ------------------------------------------------------------------------------------------------

  furnish() {
    const controls = div("controls", {role: "group", "aria-label": "Map controls"})
    const globe = button("Show as a globe", "globe", () => { this.model.globe = !this.model.globe })
    globe.setAttribute("aria-pressed", String(this.model.globe))
    this.globeButton = globe
    controls.append(
      button("Zoom in", "plus", () => this.map.zoomIn()),
      button("Zoom out", "minus", () => this.map.zoomOut()),
      button("Fit to the data", "fit", () => this.model.send_msg({type: "fit"})),
      globe,
    )
    const footer = div("footer")
    this.readout = div("readout", {"aria-hidden": "true"})
    this.credit = div("credit")
    this.denominator = div("denominator", {title: "Scale at the equator, with pixels of 0.28 mm"})
    footer.append(this.readout, this.denominator, this.scale.onAdd(this.map), this.credit)
    this.showScale()
    this.linkChanged()
    this.frame.append(controls, footer)
    this.frame.append(div("aim", {"aria-hidden": "true"}))
    this.attributionChanged()
  }

  globeChanged() {
    this.map.setProjection({type: this.model.globe ? "globe" : "mercator"})
    this.globeButton.setAttribute("aria-pressed", String(this.model.globe))
    if (this.model.globe && this.map.getZoom() < SMALLEST_GLOBE_ZOOM) { this.map.easeTo({zoom: SMALLEST_GLOBE_ZOOM}) }
  }

  remove() {
    clearTimeout(this.reporting)
    for (const maps of linked.values()) { maps.delete(this) }
    this.map.remove()
  }
}

// Notebook front ends say on the body whether they are dark; the page of the dashboard does not.
function hostIsDark() {
  const kind = document.body?.dataset.vscodeThemeKind
  if (kind) { return kind.includes("dark") || kind === "vscode-high-contrast" }
  return document.body?.dataset.jpThemeLight === "false"
}

export function render({model}) {
  const frame = div("frame")
  const canvas = div("canvas")
  frame.append(canvas)
  if (hostIsDark() && !model.dark) { model.dark = true }
  let geo = null
  const observer = new ResizeObserver(() => {
    if (canvas.clientWidth) { model.width_px = Math.round(canvas.clientWidth) }
    if (geo) { geo.fit(false) }
    if (geo || !canvas.clientWidth || !canvas.clientHeight) { return }
    try {
      geo = new GeoMap(model, frame, canvas)
    } catch (error) {
      observer.disconnect()
      const note = div("note", {role: "alert"})
      note.textContent = "The map cannot be drawn: WebGL is switched off in this browser. " +
        "Switch on hardware acceleration in its settings, or use another browser. Lists, values and downloads still work."
      frame.append(note)
      return
    }
    geo.furnish()
    frame.geo = geo
  })
  observer.observe(canvas)
  const then = (action) => () => { if (geo) { action(geo) } }
  model.on("layers", then((g) => g.layersChanged()))
  model.on("footprints", then((g) => g.footprintsChanged()))
  model.on("chosen", then((g) => g.chosenChanged()))
  model.on("points", then((g) => g.pointsChanged()))
  model.on("fit", then((g) => g.fit()))
  model.on("base", then((g) => {
    g.land = landOf(model.base)
    g.restyle()
  }))
  model.on("dark", then((g) => g.restyle()))
  model.on("globe", then((g) => g.globeChanged()))
  model.on("link", then((g) => g.linkChanged()))
  model.on("camera", then((g) => g.map.jumpTo({center: model.camera.center, zoom: model.camera.zoom})))
  model.on("remove", () => {
    observer.disconnect()
    geo?.remove()
  })
  return frame
}
