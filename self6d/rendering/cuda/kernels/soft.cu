// The soft mask of uncovered pixels: 1 - prod_f (1 - exp(-d2 sigma_inv)).
//
// Most boxes hold few uncovered pixels. A warp lists the pairs of its small faces and their
// uncovered pixels in shared memory and deals them to its lanes; faces with more than ALONE of them
// are walked by the whole warp, one after another, and queued faces tile by tile.

#define SOFT_BLOCKS 4
#define LIST 512  // pairs that a warp lists at once
#define ALONE 64

__device__ __forceinline__ bool is_uncovered(const Params &p, int b, int x, int y) {
    return p.uncovered[((size_t)b * p.height + y) * p.words + (x >> 5)] >> (x & 31) & 1;
}

__device__ __forceinline__ bool maybe_uncovered(const Params &p, int b, const Box &box) {
    const unsigned char *open = p.open + (size_t)b * ((p.height + 7) / 8) * p.words;
    int t0 = box.left >> 3, t1 = box.right >> 3;
    bool maybe = false;
    for (int y = box.top >> 3; y <= box.bottom >> 3; y++)
        for (int x = t0; x <= t1; x = (x | 3) + 1) {  // four 8x8 tiles a byte
            u32 bits = open[y * p.words + (x >> 2)] >> (x & 3);
            maybe |= bits & ((1u << (min(t1, x | 3) - x + 1)) - 1);
        }
    return maybe;
}

struct Rows {  // the uncovered pixels of a box, 32 columns of a row at a time
    const u32 *row;
    u32 first, last;
    int w0, w1, words;

    __device__ void start(const Params &p, int b, const Box &box) {
        row = p.uncovered + ((size_t)b * p.height + box.top) * p.words;
        w0 = box.left >> 5, w1 = box.right >> 5, words = p.words;
        first = ALL << (box.left & 31), last = ALL >> (31 - (box.right & 31));
    }
    __device__ u32 bits(int line, int w) const {
        return row[line * words + w] & (w == w0 ? first : ALL) & (w == w1 ? last : ALL);
    }
};

__device__ __forceinline__ int uncovered_in(const Params &p, int b, const Box &box) {
    if (!maybe_uncovered(p, b, box)) return 0;
    Rows rows;
    rows.start(p, b, box);
    int count = 0;
    for (int line = 0; line <= box.bottom - box.top; line++)
        for (int w = rows.w0; w <= rows.w1; w++) count += __popc(rows.bits(line, w));
    return count;
}

// A face that any lane can measure distances to: corner 0 from the centre of its box's first pixel
// in pixels, edge 0 -> 1 in image units; edge 1 -> 2, 1 / squared lengths of both; of edge 2 -> 0,
// the first pixel's number and the face's.
struct Outline { float4 a, b, c; };

__device__ __forceinline__ Outline outline_of(const Params &p, const Shape &o, int f) {
    float sx = 2.f / p.width, sy = 2.f / p.height;
    float ux = (o.x[1] - o.x[0]) * sx, uy = (o.y[1] - o.y[0]) * sy;
    float vx = (o.x[2] - o.x[1]) * sx, vy = (o.y[2] - o.y[1]) * sy, wx = ux + vx, wy = uy + vy;
    Outline n;
    n.a = make_float4(o.x[0] - (o.soft.left + 0.5f), o.y[0] - (o.soft.top + 0.5f), ux, uy);
    n.b = make_float4(vx, vy, 1.f / fmaxf(ux * ux + uy * uy, 1e-30f),
                      1.f / fmaxf(vx * vx + vy * vy, 1e-30f));
    n.c = make_float4(1.f / fmaxf(wx * wx + wy * wy, 1e-30f),
                      __int_as_float(o.soft.top * p.width + o.soft.left), __int_as_float(f), 0.f);
    return n;
}

// Nearest point of a face's outline to a pixel, in image units: offset, its edge and place on it.
struct Near { float x, y, d2, s; int edge; };

__device__ __forceinline__ void segment(
    float ax, float ay, float ux, float uy, float inverse, int edge, Near &o) {
    float s = __saturatef(-(ax * ux + ay * uy) * inverse);
    float x = fmaf(s, ux, ax), y = fmaf(s, uy, ay), d2 = x * x + y * y;
    if (d2 < o.d2) o.x = x, o.y = y, o.d2 = d2, o.s = s, o.edge = edge;
}

__device__ __forceinline__ Near nearest_of(const Params &p, const Outline &o, int dx, int dy) {
    float x = (o.a.x - dx) * (2.f / p.width), y = (o.a.y - dy) * (2.f / p.height);
    Near n;
    n.d2 = 3e38f;
    segment(x, y, o.a.z, o.a.w, o.b.z, 0, n);
    x += o.a.z, y += o.a.w;
    segment(x, y, o.b.x, o.b.y, o.b.w, 1, n);
    x += o.b.x, y += o.b.y;
    segment(x, y, -o.a.z - o.b.x, -o.a.w - o.b.y, o.c.x, 2, n);
    return n;
}

struct Pairs {  // of one warp
    Outline outline[32];
    u32 list[LIST];
};

// Calls visit(lane of the face, dx, dy) for every uncovered pixel of the boxes of a warp's faces.
// `count`: uncovered pixels of this lane's box, or more. The outlines are written.
template <class Visit>
__device__ __forceinline__ void each_pair(
    const Params &p, int b, const Box &box, int count, Pairs &warp, const Visit &visit) {
    int lane = threadIdx.x & 31;
    u32 todo = __ballot_sync(ALL, count > ALONE);
    int mine = count > ALONE ? 0 : count, last = mine;
    for (int k = 1; k < 32; k *= 2) {
        int before = __shfl_up_sync(ALL, last, k);
        if (lane >= k) last += before;
    }
    int total = __shfl_sync(ALL, last, 31), at = last - mine, base = 0;
    int line = 0, w = 0, x = 0, y = 0;
    u32 bits = 0;
    Rows rows;
    if (mine) rows.start(p, b, box), w = rows.w0, bits = rows.bits(0, w);
    while (todo || base < total) {
        int n = 0;
        if (todo) {  // all lanes list one face's pixels
            int from = __ffs(todo) - 1;
            Box one = broadcast(box, from);
            int right = one.right - one.left, bottom = one.bottom - one.top;
            while (y <= bottom && n <= LIST - 32) {
                int dx = x + (lane & 7), dy = y + (lane >> 3);
                bool found = dx <= right && dy <= bottom &&
                             is_uncovered(p, b, one.left + dx, one.top + dy);
                u32 all = __ballot_sync(ALL, found);
                if (found)
                    warp.list[n + __popc(all & ((1u << lane) - 1))] = from << 22 | dy << 11 | dx;
                n += __popc(all);
                x += 8;
                if (x > right) x = 0, y += 4;
            }
            if (y > bottom) x = 0, y = 0, todo &= todo - 1;
        } else {  // every lane lists its own face's pixels
            int end = min(last, base + LIST);
            while (at < end) {
                while (bits == 0) {
                    if (++w > rows.w1) w = rows.w0, line++;
                    bits = rows.bits(line, w);
                }
                u32 code = (u32)lane << 22 | (u32)line << 11;
                for (int dx = 32 * w - box.left; bits && at < end; bits &= bits - 1)
                    warp.list[at++ - base] = code | (dx + __ffs(bits) - 1);
            }
            n = min(total - base, LIST);
            base += LIST;
        }
        __syncwarp();
#pragma unroll 2
        for (int i = lane; i < n; i += 32) {
            u32 pair = warp.list[i];
            visit((int)(pair >> 22), (int)(pair & 2047), (int)(pair >> 11 & 2047));
        }
        __syncwarp();
    }
}

__device__ __forceinline__ float miss_of(float x, float p) {  // 1 - exp(-x), never 0
    x = fmaxf(x, FLOOR);
    return x < 0.03f ? x * (1.f - x * (0.5f - x * (1.f / 6))) : 1.f - p;
}

// Whether a tile is too far from a face for any exp(-d2 sigma_inv) to count.
__device__ __forceinline__ bool is_far(const Params &p, const Shape &o, int tx, int ty) {
    float reach = hypotf(32.f / p.width, 32.f / p.height);
    Shape at = o;
    at.soft.left = tx, at.soft.top = ty;
    float e[3], d2 = nearest_of(p, outline_of(p, at, 0), 16, 16).d2;
    return sqrtf(d2) > reach + sqrtf(30.f / p.sigma_inv) && !covers(o, tx + 16.f, ty + 16.f, e);
}

// A tile of a queued face, as the box of lane 0; the number of its uncovered pixels, or more.
__device__ __forceinline__ int soft_tile(const Params &p, Shape &o, const Tiles &tiles) {
    bool drawn = o.kind == LARGE && !is_far(p, o, tiles.tx, tiles.ty);
    o.soft.left = max(o.soft.left, tiles.tx), o.soft.right = min(o.soft.right, tiles.tx + 31);
    o.soft.top = max(o.soft.top, tiles.ty), o.soft.bottom = min(o.soft.bottom, tiles.ty + 31);
    return drawn && area(o.soft) && (threadIdx.x & 31) == 0 ? ALONE + 1 : 0;
}

__device__ __forceinline__ int soft_count(const Params &p, int b, const Shape &o) {
    return o.kind == SMALL && area(o.soft) ? uncovered_in(p, b, o.soft) : 0;
}

// Blocks of an item: `soft_blocks` for its faces, the rest for tiles of queued faces.
extern "C" __global__ void __launch_bounds__(BLOCK, SOFT_BLOCKS)
soft_mask(const __grid_constant__ Params p) {
    __shared__ Item s;
    __shared__ Pairs pairs[BLOCK / 32];
    int b = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x / 32, f = 0;
    int block = (int)blockIdx.x - p.soft_blocks;
    u64 queued = block < 0 ? 0 : p.queued[b];
    if (block >= 0 && queued == 0) return;
    load_item(s, p, b);
    Pairs &mine = pairs[warp];
    Tiles tiles;
    if (block >= 0)
        tiles.start(p, b, queued, block * (BLOCK / 32) + warp, p.tile_blocks * (BLOCK / 32));
    Shape o;
    for (bool first = true; block >= 0 ? tiles.next(p, s, o, f, true) : first; first = false) {
        int count;
        if (block < 0) {
            f = (blockIdx.x * (BLOCK / 32) + warp) * p.per_warp + lane;
            o.kind = NOTHING;
            if (lane < p.per_warp && f < s.count) project(p, s, f, o);
            count = soft_count(p, b, o);
        } else {
            count = soft_tile(p, o, tiles);
        }
        u32 which = __ballot_sync(ALL, count > 0);
        if (!which) continue;
        if (count) mine.outline[lane] = outline_of(p, o, f);
        float *mask = p.mask + (size_t)b * p.height * p.width;
        each_pair(p, b, o.soft, count, mine, [&](int from, int dx, int dy) {
            Outline n = mine.outline[from];
            float d = nearest_of(p, n, dx, dy).d2 * p.sigma_inv;
            if (d < 30.f)
                atomicAdd(mask + __float_as_int(n.c.y) + dy * p.width + dx,
                          __logf(miss_of(d, __expf(-d))));
        });
        if (block >= 0 || !p.keep) continue;
        u64 place = 0;
        if (lane == 0) place = atomicAdd(&p.touching[b], (u64)__popc(which));
        place = __shfl_sync(ALL, place, 0) + __popc(which & ((1u << lane) - 1));
        if (count) p.queue[(size_t)(b + 1) * p.max_faces - 1 - place] = make_uint2(f, 0);
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
