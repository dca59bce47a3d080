/** Prints that hang to dry: for a place without images. */
export function Darkroom() {
  return (
    <svg viewBox="0 0 240 150" class="darkroom" aria-hidden="true">
      <path d="M8 26C70 44 170 44 232 26" class="line" />
      <g class="print" transform="rotate(-4 62 80)">
        <rect x="34" y="38" width="56" height="70" rx="4" />
        <path d="M40 90c8-14 14-14 20-4 4-10 10-12 24 2v12H40Z" class="tone" />
        <circle cx="70" cy="58" r="6" class="sun" />
      </g>
      <g class="print" transform="rotate(1.5 124 84)">
        <rect x="98" y="42" width="52" height="66" rx="4" />
        <path d="M104 76 118 60l10 14 7-8 9 12v22h-40Z" class="tone" />
      </g>
      <g class="print blank" transform="rotate(5 184 80)">
        <rect x="158" y="38" width="50" height="64" rx="4" />
      </g>
      <path d="M62 34v10M124 38v10M184 34v10" class="clip" />
    </svg>
  );
}
