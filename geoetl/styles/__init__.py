"""One style per layer, canonical CartoSym-JSON: read, judged, flattened, and written for every client."""
