import { t } from "../text/index.ts";

interface SkeletonProps {
  /** Its size: a class of the style. */
  class?: string;
  /** How many of them stand below each other. */
  count?: number;
}

/** Holds the place of something that is loaded. */
export function Skeleton({ class: name = "", count = 1 }: SkeletonProps) {
  return (
    <div class="stack" role="status" aria-label={t.shell.loading}>
      {Array.from({ length: count }, (_, index) => (
        <div key={index} class={`skeleton ${name}`} />
      ))}
    </div>
  );
}
