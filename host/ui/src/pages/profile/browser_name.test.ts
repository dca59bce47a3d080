import assert from "node:assert/strict";
import { test } from "node:test";
import { describeBrowser } from "./browser_name.ts";

test("browser name is the browser's own, although it names others", () => {
  const names: [string, string | undefined][] = [
    ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox, Linux"],
    ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0 Safari/537.36 Edg/148.0", "Edge, Windows"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1", "Safari, iOS"],
    ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/148.0.0.0 Safari/537.36", "Chrome, Linux"],
    ["curl/8.5.0", undefined],
    ["", undefined],
  ];
  for (const [userAgent, expected] of names) assert.equal(describeBrowser(userAgent), expected, userAgent);
});
