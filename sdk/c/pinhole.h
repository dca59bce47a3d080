// Helpers for engines in C. `image_engine.h` is the contract, generated from `engine.wit`.
//
// The host runs each call in a new instance and drops it afterwards, so an engine frees nothing. What it returns must be
// allocated with `malloc`, as these functions do.

#ifndef PINHOLE_H
#define PINHOLE_H

#include "image_engine.h"

typedef image_engine_string_t ph_string;
typedef pinhole_engine_types_job_t ph_job;
typedef pinhole_engine_types_error_t ph_error;
typedef exports_pinhole_engine_engine_description_t ph_description;
typedef exports_pinhole_engine_engine_output_t ph_output;
typedef exports_pinhole_engine_engine_list_setting_value_t ph_settings;
typedef exports_pinhole_engine_engine_setting_t ph_setting;
typedef exports_pinhole_engine_engine_upstream_t ph_upstream;
typedef pinhole_engine_upstream_own_response_t ph_response;
typedef pinhole_engine_upstream_own_document_t ph_document;
typedef pinhole_engine_images_own_image_t ph_image;

// Memory of zeros. Traps if there is none.
void *ph_allocate(size_t bytes);
// A copy of the text.
ph_string ph_text(const char *text);
// A list of copies of the texts, up to a NULL.
image_engine_list_string_t ph_texts(const char *first, ...);

// Text that grows.
typedef struct {
    char *text;
    size_t length;
    size_t capacity;
} ph_builder;

// Appends what `printf` would print.
void ph_print(ph_builder *builder, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Appends the text as a JSON string.
void ph_print_json(ph_builder *builder, ph_string text);

// A setting that an operator can set. `kind` is `EXPORTS_PINHOLE_ENGINE_ENGINE_SETTING_KIND_…`, `initial` is JSON or NULL.
ph_setting ph_make_setting(const char *key, uint8_t kind, const char *title, const char *description,
                           const char *initial, const char *variable);
// A remote API with one credential (`EXPORTS_PINHOLE_ENGINE_ENGINE_CREDENTIAL_BEARER` or `…_BASIC`), which is the key of a
// secret setting, and one request such as `POST /v1/images`.
ph_upstream ph_make_upstream(const char *name, const char *base_url, uint8_t credential, const char *secret,
                             const char *request);

// Sends JSON and waits for a response with a status of 2xx. Otherwise returns false and sets the error, with the message
// of the upstream.
bool ph_post_json(const char *upstream, const char *path, const ph_builder *json, ph_document *document, ph_error *error);
// The image in the base64 string at a JSON pointer. False if there is none.
bool ph_image_at(ph_document document, const char *pointer, ph_image *image);

// An output with `count` images.
void ph_make_output(ph_output *output, const ph_image *images, size_t count);
// Sets the error and returns false. `kind` is `PINHOLE_ENGINE_TYPES_ERROR_KIND_…`.
bool ph_fail(ph_error *error, uint8_t kind, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
