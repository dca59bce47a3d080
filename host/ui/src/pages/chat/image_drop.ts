import { useEffect, useRef, useState } from "preact/hooks";

/** Takes images that are dropped on the page or pasted into it. Returns whether some are held above it. */
export function useImageDrop(onImages: (files: File[]) => void): boolean {
  const [isOver, setOver] = useState(false);
  const take = useRef(onImages);
  take.current = onImages;
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true && !isDialogOpen();
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const onLeave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent) => {
      setOver(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      take.current([...(event.dataTransfer?.files ?? [])]);
    };
    const onPaste = (event: ClipboardEvent) => {
      const images = [...(event.clipboardData?.files ?? [])].filter((it) => it.type.startsWith("image/"));
      if (images.length === 0 || isDialogOpen()) return;
      event.preventDefault();
      take.current(images);
    };
    addEventListener("dragover", onOver);
    addEventListener("dragleave", onLeave);
    addEventListener("drop", onDrop);
    addEventListener("paste", onPaste);
    return () => {
      removeEventListener("dragover", onOver);
      removeEventListener("dragleave", onLeave);
      removeEventListener("drop", onDrop);
      removeEventListener("paste", onPaste);
    };
  }, []);
  return isOver;
}

function isDialogOpen(): boolean {
  return document.querySelector("dialog[open]") !== null;
}
