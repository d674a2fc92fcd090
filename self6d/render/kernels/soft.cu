// The soft mask of uncovered pixels.

__device__ __forceinline__ bool is_uncovered(const Params &p, int b, int x, int y) {
    return p.uncovered[((size_t)b * p.height + y) * p.words + (x >> 5)] >> (x & 31) & 1;
}

__device__ __forceinline__ bool any_uncovered(const Params &p, int b, const Box &box) {
    const unsigned char *open = p.open + (size_t)b * p.tiles;
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

// Nearest point of a face's outline to a pixel, in image units: offset from the pixel, squared
// distance, and where it is: a share `along` of the way from corner `edge` to the next.
struct Near { float x, y, d2, along; int edge; };

__device__ __forceinline__ void segment(
    float ax, float ay, float bx, float by, int edge, Near &o) {
    float ux = bx - ax, uy = by - ay;
    float s = -(ax * ux + ay * uy) / fmaxf(ux * ux + uy * uy, 1e-30f);
    s = fminf(fmaxf(s, 0.f), 1.f);
    float x = fmaf(s, ux, ax), y = fmaf(s, uy, ay), d2 = x * x + y * y;
    if (d2 < o.d2) o.x = x, o.y = y, o.d2 = d2, o.along = s, o.edge = edge;
}

__device__ __forceinline__ Near nearest_point(
    const Params &p, const float *x, const float *y, float px, float py) {
    float sx = 2.f / p.width, sy = 2.f / p.height;
    float x0 = (x[0] - px) * sx, x1 = (x[1] - px) * sx, x2 = (x[2] - px) * sx;
    float y0 = (y[0] - py) * sy, y1 = (y[1] - py) * sy, y2 = (y[2] - py) * sy;
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

// Whether a 32x8 tile is too far from a face for any exp(-d2 sigma_inv) to count.
__device__ __forceinline__ bool is_far(const Params &p, const Shape &o, int tile) {
    float px = tile % p.words * 32 + 16.f, py = tile / p.words * 8 + 4.f, e[3];
    float reach = hypotf(32.f / p.width, 8.f / p.height) + sqrtf(30.f / p.sigma_inv);
    return nearest_point(p, o.x, o.y, px, py).d2 > reach * reach && !covers(o, px, py, e);
}

__device__ __forceinline__ void mark_tile(const Params &p, int b, int tile) {
    size_t at = (size_t)b * p.tiles + tile;
    if (p.open[at] && !p.marked[at] && atomicExch(&p.marked[at], 1u) == 0)
        p.soft_tiles[(size_t)b * p.tiles + atomicAdd(&p.counts[p.batch + b], 1u)] = tile;
}

extern "C" __global__ void __launch_bounds__(BLOCK) find_soft(const __grid_constant__ Params p) {
    __shared__ Item s;
    int b = blockIdx.y, f = blockIdx.x * BLOCK + threadIdx.x, lane = threadIdx.x & 31;
    load_item(s, p, b);
    if (blockIdx.x * BLOCK >= s.count) return;
    Shape o;
    o.kind = NOTHING;
    if (f < s.count) project(p, s, f, o);
    bool large = o.kind == LARGE && area(o.soft);
    bool touches = large || (o.kind == SMALL && area(o.soft) && any_uncovered(p, b, o.soft));
    u32 which = __ballot_sync(ALL, touches);
    if (!which) return;
    u32 first = 0;
    if (lane == 0) first = atomicAdd(&p.counts[b], (u32)__popc(which));
    first = __shfl_sync(ALL, first, 0) + __popc(which & ((1u << lane) - 1));
    if (touches) {
        size_t at = (size_t)b * p.max_faces + first;
        p.boxes[at] = make_short4(o.soft.left, o.soft.right, o.soft.top, o.soft.bottom);
        p.touching[at] = f;
        for (int y = o.soft.top >> 3; !large && y <= o.soft.bottom >> 3; y++)
            for (int x = o.soft.left >> 5; x <= o.soft.right >> 5; x++)
                mark_tile(p, b, y * p.words + x);
    }
    for (u32 todo = __ballot_sync(ALL, large); todo; todo &= todo - 1) {
        int from = __ffs(todo) - 1;  // the whole warp marks the tiles near this lane's face
        Shape c;
        for (int n = 0; n < 3; n++) {
            c.x[n] = __shfl_sync(ALL, o.x[n], from);
            c.y[n] = __shfl_sync(ALL, o.y[n], from);
        }
        Box box = broadcast(o.soft, from);
        int across = (box.right >> 5) - (box.left >> 5) + 1;
        int n = across * ((box.bottom >> 3) - (box.top >> 3) + 1);
        for (int i = lane; i < n; i += 32) {
            int tile = ((box.top >> 3) + i / across) * p.words + (box.left >> 5) + i % across;
            if (!is_far(p, c, tile)) mark_tile(p, b, tile);
        }
    }
}

// Faces near a tile, in shared memory. u, v: normalised image coordinates; model: corners.
struct Staged { float x[3], y[3], iz[3], u[3], v[3], model[9]; short4 box; int face; };
#define STAGED 384

__device__ __forceinline__ bool overlap(const short4 &box, int x, int y, int w, int h) {
    return box.x < x + w && box.y >= x && box.z < y + h && box.w >= y;
}

__device__ __forceinline__ void stage(
    const Params &p, const Item &s, int b, int i, int tile, Staged *staged, int *count) {
    size_t at = (size_t)b * p.max_faces + i;
    short4 box = p.boxes[at];
    if (!overlap(box, tile % p.words * 32, tile / p.words * 8, 32, 8)) return;
    int f = p.touching[at], c[3];
    Shape o;
    project(p, s, f, o);
    if (o.kind == LARGE && is_far(p, o, tile)) return;
    Staged &to = staged[atomicAdd(count, 1)];
    to.box = box, to.face = f;
    corners_of(p, s, f, c);
    for (int n = 0; n < 3; n++) {
        to.x[n] = o.x[n], to.y[n] = o.y[n], to.iz[n] = o.iz[n];
        to.v[n] = (o.y[n] - s.cy) / s.fy;
        to.u[n] = (o.x[n] - s.cx - s.skew * to.v[n]) / s.fx;
        for (int k = 0; k < 3; k++) to.model[3 * n + k] = p.vertices[c[n] + k];
    }
}

// Calls visit(face, inside) for the faces near each lane's pixel (x, y); a warp holds 8x4 pixels.
template <class Visit>
__device__ __forceinline__ void each_near_face(
    const Params &p, const Item &s, int b, int tile, int x, int y, bool uncovered, Staged *staged,
    int *count, Visit visit) {
    int lane = threadIdx.x & 31, faces = p.counts[b], left = x & ~7, top = y & ~3;
    bool busy = __ballot_sync(ALL, uncovered) != 0;
    __syncthreads();
    if (threadIdx.x == 0) *count = 0;
    for (int first = 0; first < faces; first += BLOCK) {
        __syncthreads();
        int i = first + threadIdx.x;
        if (i < faces) stage(p, s, b, i, tile, staged, count);
        __syncthreads();
        int n = *count;
        if (n <= STAGED - BLOCK && first + BLOCK < faces) continue;  // room for the next ones
        for (int start = 0; busy && start < n; start += 32) {
            int k = start + lane;
            bool here = k < n && overlap(staged[min(k, n - 1)].box, left, top, 8, 4);
            for (u32 todo = __ballot_sync(ALL, here); todo; todo &= todo - 1) {
                const Staged &face = staged[start + __ffs(todo) - 1];
                visit(face, uncovered && overlap(face.box, x, y, 1, 1));
            }
        }
        __syncthreads();
        if (threadIdx.x == 0) *count = 0;
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) soft_mask(const __grid_constant__ Params p) {
    __shared__ Item s;
    __shared__ Staged staged[STAGED];
    __shared__ int count;
    int b = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    int tiles = p.counts[p.batch + b];
    if (blockIdx.x >= tiles) return;
    load_item(s, p, b);
    for (int n = blockIdx.x; n < tiles; n += gridDim.x) {
        int tile = p.soft_tiles[(size_t)b * p.tiles + n];
        int x = tile % p.words * 32 + (warp & 3) * 8 + (lane & 7);
        int y = tile / p.words * 8 + (warp >> 2) * 4 + (lane >> 3);
        bool uncovered = x < p.width && y < p.height && is_uncovered(p, b, x, y);
        float sum = 0.f;
        each_near_face(p, s, b, tile, x, y, uncovered, staged, &count,
            [&](const Staged &face, bool inside) {
                float d = nearest_point(p, face.x, face.y, x + 0.5f, y + 0.5f).d2 * p.sigma_inv;
                if (inside && d < 30.f) sum += logf(miss_of(d, __expf(-d)));
            });
        if (sum < 0.f) p.mask[((size_t)b * p.height + y) * p.width + x] = -expm1f(sum);
    }
}
