import { render } from "preact";
import { App } from "./app.tsx";
import { followJobs } from "./jobs.ts";
import { applyTheme } from "./preferences.ts";
import { listenToNavigation } from "./router.ts";
import { loadText } from "./text/index.ts";

applyTheme();
listenToNavigation();
followJobs();
await loadText();
const root = document.getElementById("app");
if (root) render(<App />, root);
