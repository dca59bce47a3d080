// An engine that the user may choose: how it is named and what it can do. No DOM.
import type { Abilities, ImageModel, UsableEngine } from "./api/types.ts";

/** The title, with the name if an engine has several configurations. */
export function titleOf({ title, name, engine }: UsableEngine): string {
  return name === engine ? title : `${title} · ${name}`;
}

/** The abilities with the model, which may be less than with others. */
export function abilitiesOf(engine: UsableEngine | undefined, model: ImageModel | undefined): Abilities | undefined {
  if (!engine) return undefined;
  if (!model?.abilities) return engine.abilities;
  const { sizes: _sizes, aspect_ratios: _ratios, ...abilities } = model.abilities;
  return { ...engine.abilities, ...abilities };
}
