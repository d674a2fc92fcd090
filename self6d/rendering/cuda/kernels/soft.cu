// The soft mask of uncovered pixels.

__device__ __forceinline__ bool is_uncovered(const Params &p, int b, int x, int y) {
    return p.uncovered[((size_t)b * p.height + y) * p.words + (x >> 5)] >> (x & 31) & 1;
}

__device__ __forceinline__ bool any_uncovered(const Params &p, int b, const Box &box) {
    const unsigned char *open = p.open + (size_t)b * ((p.height + 7) / 8) * p.words;
    int t0 = box.left >> 3, t1 = box.right >> 3;
    bool maybe = false;
    for (int y = box.top >> 3; y <= box.bottom >> 3; y++)
        for (int x = t0; x <= t1; x = (x | 3) + 1) {  // four 8x8 tiles a byte
            u32 bits = open[y * p.words + (x >> 2)] >> (x & 3);
            maybe |= bits & ((1u << (min(t1, x | 3) - x + 1)) - 1);
        }
    if (!maybe) return false;
    int w0 = box.left >> 5, w1 = box.right >> 5;
    u32 first = ALL << (box.left & 31), last = ALL >> (31 - (box.right & 31));
    for (int y = box.top; y <= box.bottom; y++) {
        const u32 *row = p.uncovered + ((size_t)b * p.height + y) * p.words;
        for (int w = w0; w <= w1; w++)
            if (row[w] & (w == w0 ? first : ALL) & (w == w1 ? last : ALL)) return true;
    }
    return false;
}

// Nearest point of a face's outline to a pixel, in image units: offset, and its weights.
struct Near { float x, y, d2, w1, w2; };

__device__ __forceinline__ void segment(
    float ax, float ay, float bx, float by, int which, Near &o) {
    float ux = bx - ax, uy = by - ay;
    float s = -(ax * ux + ay * uy) / fmaxf(ux * ux + uy * uy, 1e-30f);
    s = fminf(fmaxf(s, 0.f), 1.f);
    float x = fmaf(s, ux, ax), y = fmaf(s, uy, ay), d2 = x * x + y * y;
    if (d2 < o.d2) {
        o.x = x, o.y = y, o.d2 = d2;
        o.w1 = which == 0 ? s : which == 1 ? 1.f - s : 0.f;
        o.w2 = which == 0 ? 0.f : which == 1 ? s : 1.f - s;
    }
}

__device__ __forceinline__ Near nearest_point(const Params &p, const Shape &o, float px, float py) {
    float sx = 2.f / p.width, sy = 2.f / p.height;
    float x0 = (o.x[0] - px) * sx, x1 = (o.x[1] - px) * sx, x2 = (o.x[2] - px) * sx;
    float y0 = (o.y[0] - py) * sy, y1 = (o.y[1] - py) * sy, y2 = (o.y[2] - py) * sy;
    Near n;
    n.d2 = 3e38f;
    segment(x0, y0, x1, y1, 0, n);
    segment(x1, y1, x2, y2, 1, n);
    segment(x2, y2, x0, y0, 2, n);
    return n;
}

__device__ __forceinline__ float miss_of(float x, float p) {  // 1 - exp(-x), never 0
    x = fmaxf(x, FLOOR);
    return x < 0.03f ? x * (1.f - x * (0.5f - x * (1.f / 6))) : 1.f - p;
}

__device__ __forceinline__ void soften(
    const Params &p, const Shape &o, int b, int x, int y, float *mask) {
    float d = nearest_point(p, o, x + 0.5f, y + 0.5f).d2 * p.sigma_inv;
    if (d < 30.f) atomicAdd(mask + (size_t)y * p.width + x, logf(miss_of(d, __expf(-d))));
}

// Whether a tile is too far from a face for any exp(-d2 sigma_inv) to count.
__device__ __forceinline__ bool is_far(const Params &p, const Shape &o, int tx, int ty) {
    float reach = hypotf(32.f / p.width, 32.f / p.height);
    Near n = nearest_point(p, o, tx + 16.f, ty + 16.f);
    float e[3];
    return sqrtf(n.d2) > reach + sqrtf(30.f / p.sigma_inv) && !covers(o, tx + 16.f, ty + 16.f, e);
}

extern "C" __global__ void __launch_bounds__(BLOCK) find_soft(const __grid_constant__ Params p) {
    __shared__ Item s;
    int b = blockIdx.y, f = blockIdx.x * BLOCK + threadIdx.x, lane = threadIdx.x & 31;
    load_item(s, p, b);
    if (blockIdx.x * BLOCK >= s.count) return;
    Shape o;
    o.kind = NOTHING;
    if (f < s.count) project(p, s, f, o);
    bool touches = o.kind == SMALL && area(o.soft) && any_uncovered(p, b, o.soft);
    u32 which = __ballot_sync(ALL, touches);
    if (!which) return;
    u64 first = 0;
    if (lane == 0) first = atomicAdd(&p.touching[b], (u64)__popc(which));
    first = __shfl_sync(ALL, first, 0) + __popc(which & ((1u << lane) - 1));
    if (touches) p.queue[(size_t)(b + 1) * p.max_faces - 1 - first] = make_uint2(f, 0);
}

// The touching faces of an item, a warp each: face `n` of worker's share.
__device__ __forceinline__ int touching_face(const Params &p, int b, int n) {
    return p.queue[(size_t)(b + 1) * p.max_faces - 1 - n].x;
}

extern "C" __global__ void __launch_bounds__(BLOCK) soft_mask(const __grid_constant__ Params p) {
    __shared__ Item s;
    int b = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    bool small = blockIdx.x < p.soft_blocks;
    u64 queued = small ? p.touching[b] : p.queued[b];
    int worker = (blockIdx.x - (small ? 0 : p.soft_blocks)) * (BLOCK / 32) + warp;
    if (queued == 0 || (small && worker - warp >= (int)queued)) return;
    load_item(s, p, b);
    float *mask = p.mask + (size_t)b * p.height * p.width;
    Shape o;
    if (small) {
        for (int n = worker; n < (int)queued; n += p.soft_blocks * (BLOCK / 32)) {
            project(p, s, touching_face(p, b, n), o);
            for (int y = o.soft.top + (lane >> 3); y <= o.soft.bottom; y += 4)
                for (int x = o.soft.left + (lane & 7); x <= o.soft.right; x += 8)
                    if (is_uncovered(p, b, x, y)) soften(p, o, b, x, y, mask);
        }
        return;
    }
    int f = 0;
    Tiles tiles;
    tiles.start(p, b, queued, worker, p.tile_blocks * (BLOCK / 32));
    while (tiles.next(p, s, o, f)) {
        if (o.kind != LARGE || is_far(p, o, tiles.tx, tiles.ty)) continue;
        int x = tiles.tx + lane;
        if (x < o.soft.left || x > o.soft.right) continue;
        for (int y = max(tiles.ty, o.soft.top); y <= min(tiles.ty + 31, o.soft.bottom); y++)
            if (is_uncovered(p, b, x, y)) soften(p, o, b, x, y, mask);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) finish_mask(const __grid_constant__ Params p) {
    size_t n = (size_t)p.batch * p.height * p.width;
    size_t i = ((size_t)blockIdx.x * BLOCK + threadIdx.x) * 4;
    if (i + 4 <= n && (n & 3) == 0) {
        float4 *at = (float4 *)(p.mask + i), v = *at;
        if (v.x < 0 || v.y < 0 || v.z < 0 || v.w < 0) {
            if (v.x < 0) v.x = -expm1f(v.x);
            if (v.y < 0) v.y = -expm1f(v.y);
            if (v.z < 0) v.z = -expm1f(v.z);
            if (v.w < 0) v.w = -expm1f(v.w);
            *at = v;
        }
    } else {
        for (size_t k = i; k < n && k < i + 4; k++)
            if (p.mask[k] < 0) p.mask[k] = -expm1f(p.mask[k]);
    }
}
