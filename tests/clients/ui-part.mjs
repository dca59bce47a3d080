// Pinhole's pages in a browser, on a server that has just been started for the first time. The link to its set-up page is
// CLIENT_SETUP. Screenshots are in CLIENT_SCREENSHOTS.
import { browser, openPage, usePage } from "./ui/browser.mjs";
import { admin } from "./ui/admin.mjs";
import { chat } from "./ui/chat.mjs";
import { create } from "./ui/create.mjs";
import { gallery } from "./ui/gallery.mjs";
import { hostile } from "./ui/hostile.mjs";
import { keyboard } from "./ui/keyboard.mjs";
import { people } from "./ui/people.mjs";
import { settings } from "./ui/settings.mjs";
import { speed } from "./ui/speed.mjs";
import { welcome } from "./ui/welcome.mjs";

const page = await openPage();
usePage(page);
for (const run of [welcome, speed]) await run(page);
await browser.close();
