interface TrackProps {
  /** From 0 to 1. Without it, something moves. */
  fraction?: number | undefined;
  /** For a reader of the screen, if no text says it. */
  label?: string;
}

/** How far a task is, on an image. */
export function Track({ fraction, label }: TrackProps) {
  const isKnown = fraction !== undefined;
  return (
    <div class={isKnown ? "track" : "track unknown"} {...(label === undefined ? { "aria-hidden": "true" } : { role: "status", "aria-label": label })}>
      <i style={isKnown ? { transform: `scaleX(${Math.min(1, fraction)})` } : undefined} />
    </div>
  );
}
