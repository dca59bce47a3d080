import { create } from "./create.ts";
import { gallery } from "./gallery.ts";

/** The texts of the create page, its editor of masks, and the gallery. They are loaded with these. */
export const studio = { create, gallery };
