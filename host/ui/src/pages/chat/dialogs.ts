// The dialogs of the chat page, each in a file of its own that is loaded when it is opened first.
import { signal } from "@preact/signals";
import { lazyDialog } from "./lazy_dialog.tsx";

export const isOptionsOpen = signal(false);
/** The key of the source whose mask is painted. */
export const maskedSource = signal<string | undefined>(undefined);

export const OptionsDialog = lazyDialog(async () => (await import("./options_dialog.tsx")).OptionsDialog);
export const ImageDialog = lazyDialog(async () => (await import("./image_dialog.tsx")).ImageDialog);
export const ShareDialog = lazyDialog(async () => (await import("../../components/share_dialog.tsx")).ShareDialog);
export const MaskDialog = lazyDialog(async () => (await import("./mask_dialog.tsx")).MaskDialog);
