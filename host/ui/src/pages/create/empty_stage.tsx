import { t } from "../../text/index.ts";

/** Before the first image: what this place is for, and prompts to try. */
export function EmptyStage({ onChoose }: { onChoose: (prompt: string) => void }) {
  return (
    <div class="empty-stage">
      <Landscape />
      <h2>{t.create.emptyTitle}</h2>
      <p class="muted">{t.create.emptyHint}</p>
      <div class="examples">
        {t.create.examples.map((prompt) => (
          <button key={prompt} type="button" class="chip" onClick={() => onChoose(prompt)}>
            {prompt}
          </button>
        ))}
      </div>
    </div>
  );
}

/** A small picture, as the built-in engine draws it. */
function Landscape() {
  return (
    <svg class="landscape" viewBox="0 0 360 220" aria-hidden="true" focusable="false">
      <defs>
        <linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">
          <stop offset="0" class="sky-high" />
          <stop offset="1" class="sky-low" />
        </linearGradient>
        <clipPath id="landscape-edge">
          <rect width="360" height="220" rx="18" />
        </clipPath>
      </defs>
      <g clip-path="url(#landscape-edge)">
        <rect width="360" height="220" fill="url(#sky)" />
        <circle cx="250" cy="92" r="30" class="sun" />
        <path d="M0 146c48-38 88-44 132-20 44-40 96-30 140 6 34-22 62-18 88-2v90H0Z" class="far-hill" />
        <path d="M0 176c70-30 128-24 190-6s112 16 170-14v64H0Z" class="middle-hill" />
        <path d="M0 200c90-22 150-10 214 0s100 6 146-10v30H0Z" class="near-hill" />
      </g>
    </svg>
  );
}
