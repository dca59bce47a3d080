#include "pinhole.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Length of the upstream's message.
#define MAX_MESSAGE_BYTES 300

// The generated file refers to it: other tools describe the world in an object file, `pinhole engine encode` does it here.
void __component_type_object_force_link_image_engine(void) {}

void *ph_allocate(size_t bytes) {
    void *memory = calloc(bytes > 0 ? bytes : 1, 1);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

ph_string ph_text(const char *text) {
    ph_string copy;
    image_engine_string_dup(&copy, text);
    return copy;
}

image_engine_list_string_t ph_texts(const char *first, ...) {
    image_engine_list_string_t list = {NULL, 0};
    va_list texts;
    va_start(texts, first);
    for (const char *text = first; text != NULL; text = va_arg(texts, const char *)) {
        list.ptr = realloc(list.ptr, (list.len + 1) * sizeof(ph_string));
        if (list.ptr == NULL) {
            abort();
        }
        list.ptr[list.len++] = ph_text(text);
    }
    va_end(texts);
    return list;
}

// Makes room for this many more bytes and a NUL.
static void reserve(ph_builder *builder, size_t bytes) {
    size_t needed = builder->length + bytes + 1;
    if (needed > builder->capacity) {
        builder->capacity = needed * 2;
        builder->text = realloc(builder->text, builder->capacity);
        if (builder->text == NULL) {
            abort();
        }
    }
}

static void print_list(ph_builder *builder, const char *format, va_list values) {
    va_list copy;
    va_copy(copy, values);
    int length = vsnprintf(NULL, 0, format, copy);
    va_end(copy);
    if (length < 0) {
        abort();
    }
    reserve(builder, (size_t)length);
    vsnprintf(builder->text + builder->length, (size_t)length + 1, format, values);
    builder->length += (size_t)length;
}

void ph_print(ph_builder *builder, const char *format, ...) {
    va_list values;
    va_start(values, format);
    print_list(builder, format, values);
    va_end(values);
}

void ph_print_json(ph_builder *builder, ph_string text) {
    ph_print(builder, "\"");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = text.ptr[i];
        if (byte == '"' || byte == '\\') {
            ph_print(builder, "\\%c", byte);
        } else if (byte < 0x20) {
            ph_print(builder, "\\u%04x", byte);
        } else {
            ph_print(builder, "%c", byte);
        }
    }
    ph_print(builder, "\"");
}

ph_setting ph_make_setting(const char *key, uint8_t kind, const char *title, const char *description,
                           const char *initial, const char *variable) {
    ph_setting setting;
    memset(&setting, 0, sizeof setting);
    setting.key = ph_text(key);
    setting.title = ph_text(title);
    setting.description = ph_text(description);
    setting.kind.tag = kind;
    if (initial != NULL) {
        setting.default_.is_some = true;
        setting.default_.val = ph_text(initial);
    }
    setting.generate_variables = ph_texts(variable, NULL);
    return setting;
}

ph_upstream ph_make_upstream(const char *name, const char *base_url, uint8_t credential, const char *secret,
                             const char *request) {
    ph_upstream upstream;
    memset(&upstream, 0, sizeof upstream);
    upstream.name = ph_text(name);
    upstream.base_url = ph_text(base_url);
    upstream.credentials.ptr = ph_allocate(sizeof *upstream.credentials.ptr);
    upstream.credentials.len = 1;
    upstream.credentials.ptr[0].tag = credential;
    upstream.credentials.ptr[0].val.bearer = ph_text(secret);
    upstream.requests = ph_texts(request, NULL);
    return upstream;
}

bool ph_fail(ph_error *error, uint8_t kind, const char *format, ...) {
    ph_builder message = {0};
    va_list values;
    va_start(values, format);
    print_list(&message, format, values);
    va_end(values);
    memset(error, 0, sizeof *error);
    error->kind = kind;
    error->message = ph_text(message.text);
    return false;
}

static bool fail_on_host(ph_error *error, const pinhole_engine_upstream_error_t *cause) {
    const ph_string *text = &cause->val.denied;
    switch (cause->tag) {
    case PINHOLE_ENGINE_UPSTREAM_ERROR_DENIED:
        return ph_fail(error, PINHOLE_ENGINE_TYPES_ERROR_KIND_FORBIDDEN, "%.*s", (int)text->len, text->ptr);
    case PINHOLE_ENGINE_UPSTREAM_ERROR_CONNECT:
        return ph_fail(error, PINHOLE_ENGINE_TYPES_ERROR_KIND_UNAVAILABLE, "%.*s", (int)text->len, text->ptr);
    case PINHOLE_ENGINE_UPSTREAM_ERROR_TIMEOUT:
        return ph_fail(error, PINHOLE_ENGINE_TYPES_ERROR_KIND_TIMEOUT, "the upstream did not respond in time");
    case PINHOLE_ENGINE_UPSTREAM_ERROR_CANCELLED:
        return ph_fail(error, PINHOLE_ENGINE_TYPES_ERROR_KIND_CANCELLED, "the job was cancelled");
    case PINHOLE_ENGINE_UPSTREAM_ERROR_MALFORMED:
        return ph_fail(error, PINHOLE_ENGINE_TYPES_ERROR_KIND_PROTOCOL, "%.*s", (int)text->len, text->ptr);
    default:
        return ph_fail(error, PINHOLE_ENGINE_TYPES_ERROR_KIND_PROTOCOL, "the response cannot be used");
    }
}

static uint8_t kind_of_status(uint16_t status) {
    switch (status) {
    case 400:
    case 413:
    case 422:
        return PINHOLE_ENGINE_TYPES_ERROR_KIND_INVALID;
    case 401:
        return PINHOLE_ENGINE_TYPES_ERROR_KIND_UNAUTHORIZED;
    case 402:
        return PINHOLE_ENGINE_TYPES_ERROR_KIND_QUOTA;
    case 403:
        return PINHOLE_ENGINE_TYPES_ERROR_KIND_FORBIDDEN;
    case 404:
        return PINHOLE_ENGINE_TYPES_ERROR_KIND_NOT_FOUND;
    case 408:
        return PINHOLE_ENGINE_TYPES_ERROR_KIND_TIMEOUT;
    case 429:
        return PINHOLE_ENGINE_TYPES_ERROR_KIND_RATE_LIMITED;
    case 502:
    case 503:
    case 504:
        return PINHOLE_ENGINE_TYPES_ERROR_KIND_UNAVAILABLE;
    default:
        return PINHOLE_ENGINE_TYPES_ERROR_KIND_UPSTREAM;
    }
}

// The string at a JSON pointer. False if there is none.
static bool text_at(ph_document document, const char *pointer, ph_string *text) {
    ph_string path = ph_text(pointer);
    pinhole_engine_upstream_error_t error;
    return pinhole_engine_upstream_method_document_text_at(pinhole_engine_upstream_borrow_document(document), &path,
                                                           MAX_MESSAGE_BYTES, text, &error);
}

// Sets the error from a response with another status than 2xx.
static bool fail_on_status(ph_error *error, ph_response response, uint16_t status) {
    static const char *const pointers[] = {"/error/message", "/error", "/message", "/detail", "/title"};
    ph_document document;
    pinhole_engine_upstream_error_t ignored;
    uint8_t kind = kind_of_status(status);
    if (pinhole_engine_upstream_method_response_document(pinhole_engine_upstream_borrow_response(response), &document,
                                                         &ignored)) {
        for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
            ph_string message;
            if (text_at(document, pointers[i], &message)) {
                return ph_fail(error, kind, "%.*s", (int)message.len, message.ptr);
            }
        }
    }
    return ph_fail(error, kind, "the upstream responded with status %u", (unsigned)status);
}

bool ph_post_json(const char *upstream, const char *path, const ph_builder *json, ph_document *document, ph_error *error) {
    pinhole_engine_upstream_part_t *part = ph_allocate(sizeof *part);
    part->tag = PINHOLE_ENGINE_UPSTREAM_PART_TEXT;
    part->val.text = ph_text(json->text);
    pinhole_engine_upstream_request_t request;
    memset(&request, 0, sizeof request);
    request.upstream = ph_text(upstream);
    request.method = ph_text("POST");
    request.path = ph_text(path);
    request.body.tag = PINHOLE_ENGINE_UPSTREAM_BODY_JSON;
    request.body.val.json.ptr = part;
    request.body.val.json.len = 1;
    ph_response response;
    pinhole_engine_upstream_error_t cause;
    if (!pinhole_engine_upstream_send(&request, &response, &cause)) {
        return fail_on_host(error, &cause);
    }
    uint16_t status = pinhole_engine_upstream_method_response_status(pinhole_engine_upstream_borrow_response(response));
    if (status < 200 || status > 299) {
        return fail_on_status(error, response, status);
    }
    if (!pinhole_engine_upstream_method_response_document(pinhole_engine_upstream_borrow_response(response), document,
                                                          &cause)) {
        return fail_on_host(error, &cause);
    }
    return true;
}

bool ph_image_at(ph_document document, const char *pointer, ph_image *image) {
    ph_string path = ph_text(pointer);
    pinhole_engine_upstream_error_t error;
    return pinhole_engine_upstream_method_document_image_at(pinhole_engine_upstream_borrow_document(document), &path,
                                                            image, &error);
}

void ph_make_output(ph_output *output, const ph_image *images, size_t count) {
    memset(output, 0, sizeof *output);
    output->images.ptr = ph_allocate(count * sizeof *output->images.ptr);
    output->images.len = count;
    for (size_t i = 0; i < count; i++) {
        output->images.ptr[i].image = images[i];
        output->images.ptr[i].details = ph_text("{}");
    }
    output->details = ph_text("{}");
}
