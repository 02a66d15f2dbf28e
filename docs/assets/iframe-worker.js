// Browsers refuse web workers to pages that are opened from the disk. The theme's search wants one: there it gets
// a hidden frame that runs the same script and is spoken to in the same way.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      this.ready = new Promise((resolve) => {
        frame.addEventListener("load", () => {
          const scope = frame.contentWindow;
          scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          const script = scope.document.createElement("script");
          script.src = new URL(url, location.href).href;
          script.addEventListener("load", () => resolve(scope));
          script.addEventListener("error", () => this.dispatchEvent(new Event("error")));
          scope.document.body.append(script);
        }, { once: true });
      });
      frame.srcdoc = "<body></body>";
      document.body.append(frame);
    }

    postMessage(data) {
      this.ready.then((scope) => scope.dispatchEvent(new scope.MessageEvent("message", { data })));
    }
  };
}
