// Addresses are shown as they are from here, which below a proxy is not the root of its host.
fetch("api/openapi.json")
  .then((answer) => answer.json())
  .then((spec) => {
    const server = new URL(".", document.baseURI).href.replace(/\/$/, "")
    const font = "system-ui, sans-serif"
    Redoc.init(
      { ...spec, servers: [{ url: server }] },
      { hideDownloadButton: true, theme: { typography: { fontFamily: font, headings: { fontFamily: font } } } },
      document.getElementById("docs"),
    )
  })
  .catch(() => {
    document.getElementById("docs").textContent = "The description could not be loaded. Sign in, then load this page again."
  })
