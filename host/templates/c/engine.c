// An engine for an images API that has `POST /v1/images`. Change it to the API that you have.

#include "pinhole-sdk/pinhole.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_BASE_URL "\"https://images.example.com\""
#define MAX_COUNT 4

void exports_pinhole_engine_engine_describe(ph_description *description) {
    memset(description, 0, sizeof *description);
    description->name = ph_text("my-engine");
    description->title = ph_text("My engine");
    description->version = ph_text("0.1.0");
    description->abilities.seed = true;
    description->abilities.max_count = MAX_COUNT;

    description->settings.ptr = ph_allocate(2 * sizeof(ph_setting));
    description->settings.len = 2;
    description->settings.ptr[0] = ph_make_setting("base-url", EXPORTS_PINHOLE_ENGINE_ENGINE_SETTING_KIND_URL, "Base URL",
                                                   "URL of the API.", DEFAULT_BASE_URL, "MY_ENGINE_BASE_URL");
    description->settings.ptr[1] = ph_make_setting("api-key", EXPORTS_PINHOLE_ENGINE_ENGINE_SETTING_KIND_SECRET, "API key",
                                                   "Sent as a bearer token.", NULL, "MY_ENGINE_API_KEY");

    description->upstreams.ptr = ph_allocate(sizeof(ph_upstream));
    description->upstreams.len = 1;
    description->upstreams.ptr[0] = ph_make_upstream("api", "base-url", EXPORTS_PINHOLE_ENGINE_ENGINE_CREDENTIAL_BEARER,
                                                     "api-key", "POST /v1/images");
}

bool exports_pinhole_engine_engine_generate(ph_job *job, ph_settings *settings, ph_output *output, ph_error *error) {
    (void)settings;
    ph_builder json = {0};
    ph_print(&json, "{\"prompt\":");
    ph_print_json(&json, job->prompt);
    ph_print(&json, ",\"n\":%" PRIu32, job->count);
    if (job->seed.is_some) {
        ph_print(&json, ",\"seed\":%" PRIu64, job->seed.val);
    }
    if (job->size.is_some) {
        ph_print(&json, ",\"size\":\"%" PRIu32 "x%" PRIu32 "\"", job->size.val.width, job->size.val.height);
    }
    ph_print(&json, "}");

    ph_document document;
    if (!ph_post_json("api", "/v1/images", &json, &document, error)) {
        return false;
    }
    // The host holds the images. The engine only says where they are in the JSON.
    ph_image images[MAX_COUNT];
    size_t count = 0;
    while (count < MAX_COUNT) {
        char pointer[40];
        snprintf(pointer, sizeof pointer, "/data/%zu/b64_json", count);
        if (!ph_image_at(document, pointer, &images[count])) {
            break;
        }
        count++;
    }
    if (count == 0) {
        return ph_fail(error, PINHOLE_ENGINE_TYPES_ERROR_KIND_PROTOCOL, "the response has no image");
    }
    ph_make_output(output, images, count);
    return true;
}

bool exports_pinhole_engine_engine_edit(ph_job *job, exports_pinhole_engine_engine_list_own_image_t *sources,
                                        ph_image *mask, ph_settings *settings, ph_output *output, ph_error *error) {
    (void)job, (void)sources, (void)mask, (void)settings, (void)output;
    return ph_fail(error, PINHOLE_ENGINE_TYPES_ERROR_KIND_UNSUPPORTED, "My engine cannot edit images");
}

bool exports_pinhole_engine_engine_models(ph_settings *settings, exports_pinhole_engine_engine_list_model_t *models,
                                          ph_error *error) {
    (void)settings, (void)error;
    memset(models, 0, sizeof *models);
    return true;
}

bool exports_pinhole_engine_engine_verify(ph_settings *settings, exports_pinhole_engine_engine_verification_t *result,
                                          ph_error *error) {
    (void)settings, (void)error;
    memset(result, 0, sizeof *result);
    return true;
}
