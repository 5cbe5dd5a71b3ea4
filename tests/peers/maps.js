// Leaflet and MapLibre as a page's globals, with their looks: what tests draw maps with in a browser.
import * as leaflet from "leaflet";
import leafletCss from "leaflet/dist/leaflet.css";
import * as maplibre from "maplibre-gl";
import maplibreCss from "maplibre-gl/dist/maplibre-gl.css";

window.L = leaflet.default ?? leaflet;
window.maplibregl = maplibre.default ?? maplibre;
for (const css of [leafletCss, maplibreCss]) {
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
}
