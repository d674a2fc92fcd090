// Kernels of the `cuda` backend, one source: geometry, prepare, visibility, shade, soft, backward.
// Compiled at run time (nvrtc.py), launched by backend.py.
//
// Forward: `prepare` (a thread per vertex: turned into the camera's directions, once for all faces
// that share it; clears what the others add to), `visibility` (a thread per face; boxes of more
// than LARGE_AREA pixels go to a queue), `visibility_large` (a warp per 32x32 tile of a queued
// face), `shade` (a thread per pixel), `soft_mask` (log-sums in place of the mask: pairs of a face
// and an uncovered pixel of its box, dealt to the lanes of a warp; tiles of queued faces),
// `finish_mask`. Backward: `backward`, one launch for the same pairs and tiles and for covered
// pixels; it adds dR and dt per item.
// The mathematics is written out in cpu/backward.py. Edge functions are taken relative to the pixel
// and without fused multiply-adds, so that they negate exactly when an edge is walked backwards.
// A second number in __launch_bounds__ is how many blocks share a multiprocessor: it bounds the
// registers, and was chosen by time on an H200.

typedef unsigned long long u64;
typedef unsigned int u32;
#define ALL 0xffffffffu
#define BLOCK 256
#define LARGE_AREA 2048
#ifndef SERIAL_AREA
#define SERIAL_AREA 128  // boxes up to this are drawn by their own thread, larger ones by the warp
#endif
// FULL, from backend.py: 0 leaves out textures, light and gradients to vertices and colours
#define FLOOR 1e-12f
#define CREASE_COS 0.766f
#define LEVELS 15

struct Item {
    float R[9], t[3], fx, skew, cx, fy, cy;
    int first_vertex, first_face, count, vertices, model, levels, number;  // number: in the batch
};

struct Params {  // field by field as PARAMS in backend.py
    const float *R, *t, *K, *vertices, *colors, *light;
    const int *object_index;
    const float *normals, *uv;
    const int4 *faces;  // vertex numbers, and nothing
    const int *vertex_offset, *face_offset, *texels, *mips, *levels;
    u64 *nearest;        // (B, H, W): bits of 1 / depth above, inverted face number below, or 0
    float4 *turned;      // (B, max_vertices): R x
    float4 *attributes;  // (all_vertices, 2): x, then colour
    Item *items;         // (B,)
    u64 *queued;         // (B,): number of queued faces << 40 | number of their tiles
    u64 *touching;       // (B,): number of small faces that touch uncovered pixels
    uint2 *queue;        // (B, max_faces): large faces and the number of their first tile from the
                         // front, touching small faces from the back
    u32 *uncovered;      // (B, H, words): a bit per pixel
    unsigned char *open;  // (B, ceil(H / 8), words): a bit per 8x8 pixels, any uncovered
    float *rgb, *depth, *mask;
    int *face_id;
    const float *g_rgb, *g_depth, *g_mask;
    float *g_R, *g_t, *g_K, *g_vertices, *g_colors;
    int batch, height, width, words, max_faces, max_vertices, all_vertices, models, light_size;
    int textured, soft, keep, vertex_blocks, per_warp, soft_blocks, tile_blocks, pixel_blocks;
    float sigma_inv, box_x, box_y, near;
};

struct Box { int left, right, top, bottom; };  // inclusive

enum { NOTHING = 0, SMALL = 1, LARGE = 2, CROSSING = 3 };

struct Shape {  // a face in the image
    float x[3], y[3], iz[3];
    Box hard, soft;
    int kind;
};

__device__ __forceinline__ void load_item(Item &s, const Params &p, int b) {
    int i = threadIdx.x;
    if (i < (int)(sizeof(Item) / 4)) ((int *)&s)[i] = ((const int *)(p.items + b))[i];
    __syncthreads();
}

__device__ __forceinline__ void rotate(const Item &s, float x, float y, float z, float *out) {
    for (int n = 0; n < 3; n++)
        out[n] = fmaf(s.R[3 * n], x, fmaf(s.R[3 * n + 1], y, s.R[3 * n + 2] * z));
}

// Vertex numbers of a face, within its model.
__device__ __forceinline__ void corners_of(const Params &p, const Item &s, int f, int (&c)[3]) {
    int4 face = p.faces[(size_t)s.first_face + f];
    c[0] = face.x, c[1] = face.y, c[2] = face.z;
}

__device__ __forceinline__ void turned_vertex(const Params &p, const Item &s, int c, float *w) {
    float4 at = p.turned[(size_t)s.number * p.max_vertices + c];
    w[0] = at.x, w[1] = at.y, w[2] = at.z;
}

__device__ __forceinline__ void to_camera(const Params &p, const Item &s, int c, float *v) {
    turned_vertex(p, s, c, v);
    for (int n = 0; n < 3; n++) v[n] += s.t[n];
}

__device__ __forceinline__ Box inside(const Params &p, float x0, float x1, float y0, float y1) {
    Box b;  // pixels whose centres are in the closed box
    b.left = (int)ceilf(fmaxf(x0 - 0.5f, 0.f));
    b.right = (int)floorf(fminf(x1 - 0.5f, p.width - 1.f));
    b.top = (int)ceilf(fmaxf(y0 - 0.5f, 0.f));
    b.bottom = (int)floorf(fminf(y1 - 0.5f, p.height - 1.f));
    return b;
}

__device__ __forceinline__ int area(const Box &b) {
    return max(b.right - b.left + 1, 0) * max(b.bottom - b.top + 1, 0);
}

__device__ __forceinline__ Box joined(const Shape &s) {
    if (area(s.soft) == 0) return s.hard;
    if (area(s.hard) == 0) return s.soft;
    Box b = {min(s.hard.left, s.soft.left), max(s.hard.right, s.soft.right),
             min(s.hard.top, s.soft.top), max(s.hard.bottom, s.soft.bottom)};
    return b;
}

// Box of the part of a face beyond the near plane; `v` in the camera frame.
__device__ __noinline__ Box crossing_box(const Params &p, const Item &s, float (*v)[3]) {
    float x0 = 3e38f, x1 = -3e38f, y0 = 3e38f, y1 = -3e38f;
    for (int n = 0; n < 3; n++) {
        float *a = v[n], *b = v[(n + 1) % 3];
        for (int end = 0; end < 2; end++) {
            bool cut = (a[2] >= p.near) != (b[2] >= p.near);
            if (end ? !cut : !(a[2] >= p.near)) continue;
            float u = end ? (p.near - a[2]) / (b[2] - a[2]) : 0.f;
            float x = a[0] + u * (b[0] - a[0]), y = a[1] + u * (b[1] - a[1]);
            float z = end ? p.near : a[2];
            float px = (s.fx * x + s.skew * y) / z + s.cx, py = s.fy * y / z + s.cy;
            x0 = fminf(x0, px), x1 = fmaxf(x1, px), y0 = fminf(y0, py), y1 = fmaxf(y1, py);
        }
    }
    return inside(p, x0, x1, y0, y1);
}

// Project face f and decide how it is drawn. NaN anywhere draws nothing.
__device__ __forceinline__ void project(const Params &p, const Item &s, int f, Shape &o) {
    int c[3], behind = 0;
    float v[3][3];
    corners_of(p, s, f, c);
    for (int n = 0; n < 3; n++) {
        to_camera(p, s, c[n], v[n]);
        behind += !(v[n][2] >= p.near);
    }
    o.kind = NOTHING;
    o.soft.left = 0, o.soft.right = -1, o.soft.top = 0, o.soft.bottom = -1;
    o.hard = o.soft;
    if (behind == 3) return;
    if (behind) {
        float copy[3][3];  // so that v itself stays in registers
        for (int n = 0; n < 9; n++) copy[n / 3][n % 3] = v[n / 3][n % 3];
        o.hard = crossing_box(p, s, copy);
        o.kind = area(o.hard) ? CROSSING : NOTHING;
        return;
    }
    for (int n = 0; n < 3; n++) {
        o.iz[n] = 1.f / v[n][2];
        o.x[n] = fmaf(fmaf(s.fx, v[n][0], s.skew * v[n][1]), o.iz[n], s.cx);
        o.y[n] = fmaf(s.fy * v[n][1], o.iz[n], s.cy);
    }
    float x0 = fminf(fminf(o.x[0], o.x[1]), o.x[2]), x1 = fmaxf(fmaxf(o.x[0], o.x[1]), o.x[2]);
    float y0 = fminf(fminf(o.y[0], o.y[1]), o.y[2]), y1 = fmaxf(fmaxf(o.y[0], o.y[1]), o.y[2]);
    float sum = o.x[0] + o.x[1] + o.x[2] + o.y[0] + o.y[1] + o.y[2];
    if (!(fabsf(sum) < 1e30f)) return;
    o.hard = inside(p, x0, x1, y0, y1);
    if (p.soft) {  // kaolin's half-open box, its y axis being up
        o.soft.left = (int)ceilf(fmaxf(x0 - p.box_x - 0.5f, 0.f));
        o.soft.right = (int)ceilf(fminf(x1 + p.box_x - 0.5f, (float)p.width)) - 1;
        o.soft.top = (int)floorf(fmaxf(y0 - p.box_y - 0.5f, -1.f)) + 1;
        o.soft.bottom = (int)floorf(fminf(y1 + p.box_y - 0.5f, p.height - 1.f));
    }
    int pixels = area(joined(o));
    o.kind = pixels == 0 ? NOTHING : pixels > LARGE_AREA ? LARGE : SMALL;
}

__device__ __forceinline__ float edge(float ax, float ay, float bx, float by) {
    return __fsub_rn(__fmul_rn(ax, by), __fmul_rn(ay, bx));
}

// Edge functions of a projected face at (px, py); true if it covers the point.
__device__ __forceinline__ bool covers(const Shape &o, float px, float py, float (&e)[3]) {
    float x0 = o.x[0] - px, x1 = o.x[1] - px, x2 = o.x[2] - px;
    float y0 = o.y[0] - py, y1 = o.y[1] - py, y2 = o.y[2] - py;
    e[0] = edge(x1, y1, x2, y2), e[1] = edge(x2, y2, x0, y0), e[2] = edge(x0, y0, x1, y1);
    bool in = (e[0] >= 0 && e[1] >= 0 && e[2] >= 0) || (e[0] <= 0 && e[1] <= 0 && e[2] <= 0);
    return in && e[0] + e[1] + e[2] != 0;
}

// Planes through the camera's centre and the edges, over the determinant: barycentrics / depth.
__device__ __noinline__ void crossing_weights(float (*v)[3], double dx, double dy, double *w) {
    double det = 0;
    for (int n = 0; n < 3; n++) {
        const float *a = v[(n + 1) % 3], *b = v[(n + 2) % 3];
        double x = (double)a[1] * b[2] - (double)a[2] * b[1];
        double y = (double)a[2] * b[0] - (double)a[0] * b[2];
        double z = (double)a[0] * b[1] - (double)a[1] * b[0];
        if (n == 0) det = v[0][0] * x + v[0][1] * y + v[0][2] * z;
        w[n] = x * dx + y * dy + z;
    }
    for (int n = 0; n < 3; n++) w[n] = det != 0 ? w[n] / det : -1;
}
