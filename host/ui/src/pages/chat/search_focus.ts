// Gives the search of chats the focus, in the rail or in the drawer.
import { openDrawer } from "../../components/drawer.tsx";

const SELECTOR = "input.chat-search";

export function openSearch(): void {
  if (focusVisible()) return;
  openDrawer();
  requestAnimationFrame(() => requestAnimationFrame(focusVisible));
}

function focusVisible(): boolean {
  const fields = [...document.querySelectorAll<HTMLInputElement>(SELECTOR)];
  const visible = fields.findLast((field) => field.offsetParent !== null || field.closest("dialog[open]") !== null);
  visible?.focus();
  visible?.select();
  return visible !== undefined;
}
