/** The mark: light falls through a pinhole, and an image of it stands on the other side. */
export function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false" class="logo">
      <path d="M16 16 31 8.5v15z" class="logo-light" />
      <path d="M16 16 3 12v8z" class="logo-image" />
      <circle cx="16" cy="16" r="10.25" class="logo-ring" />
      <circle cx="16" cy="16" r="3.75" class="logo-hole" />
    </svg>
  );
}
