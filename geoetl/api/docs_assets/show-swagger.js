// Requests go to where this page came from, which below a proxy is not the root of its host.
fetch("api/openapi.json")
  .then((answer) => answer.json())
  .then((spec) => {
    const server = new URL(".", document.baseURI).href.replace(/\/$/, "")
    SwaggerUIBundle({
      spec: { ...spec, servers: [{ url: server }] },
      dom_id: "#docs",
      deepLinking: true,
      displayRequestDuration: true,
      docExpansion: "list",
      defaultModelsExpandDepth: 0,
      filter: true,
      queryConfigEnabled: false,
      validatorUrl: null,
    })
  })
  .catch(() => {
    document.getElementById("docs").textContent = "The description could not be loaded. Sign in, then load this page again."
  })
