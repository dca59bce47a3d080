import { get } from "../../api/client.ts";
import { thumbnailUrl } from "../../api/url.ts";
import { useResource } from "../../components/resource.ts";
import { t } from "../../text/index.ts";
import { editImage } from "./image_actions.ts";

const SHOWN_IMAGES = 6;

/** The newest images, each to continue with. Its place stays, so that nothing moves when they are there. */
export function RecentImages() {
  const { value } = useResource(
    (signal) => get("/api/v1/gallery", { query: { limit: SHOWN_IMAGES, kind: "generated" }, signal }),
    [],
  );
  const images = value?.images.slice(0, SHOWN_IMAGES) ?? [];
  return (
    <section class="recent-images" aria-label={t.chat.recentImages}>
      {images.length > 0 && (
        <>
          <p class="muted">{t.chat.recentImages}</p>
          <ul>
            {images.map((image) => (
              <li key={image.id}>
                <button type="button" class="attached-image" aria-label={t.chat.continueWith((image.prompt ?? image.name).slice(0, 100))} title={image.prompt?.slice(0, 300)} onClick={() => editImage(image.id, image.name)}>
                  <img src={thumbnailUrl(image.id, 256)} alt="" width={96} height={96} />
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
