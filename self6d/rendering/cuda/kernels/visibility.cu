// Which face each pixel shows.

__device__ __forceinline__ void put(u64 *at, float iz, int f) {
    atomicMax(at, ((u64)__float_as_uint(iz) << 32) | (u32)~f);
}

__device__ __forceinline__ void draw(const Shape &o, int x, int y, int f, u64 *row) {
    float e[3];
    if (covers(o, x + 0.5f, y + 0.5f, e)) {
        float iz = (e[0] * o.iz[0] + e[1] * o.iz[1] + e[2] * o.iz[2]) / (e[0] + e[1] + e[2]);
        put(row + x, iz, f);
    }
}

__device__ __forceinline__ Box broadcast(const Box &b, int lane) {
    Box o = {__shfl_sync(ALL, b.left, lane), __shfl_sync(ALL, b.right, lane),
             __shfl_sync(ALL, b.top, lane), __shfl_sync(ALL, b.bottom, lane)};
    return o;
}

extern "C" __global__ void __launch_bounds__(BLOCK) visibility(const __grid_constant__ Params p) {
    __shared__ Item s;
    int b = blockIdx.y, f = blockIdx.x * BLOCK + threadIdx.x, lane = threadIdx.x & 31;
    load_item(s, p, b);
    if (blockIdx.x * BLOCK >= s.count) return;
    Shape o;
    o.kind = NOTHING;
    if (f < s.count) project(p, s, f, o);
    if (o.kind >= LARGE) {
        Box box = joined(o);
        u64 n = ((box.right >> 5) - (box.left >> 5) + 1) * ((box.bottom >> 5) - (box.top >> 5) + 1);
        u64 old = atomicAdd(&p.queued[b], (1ull << 40) | n);
        p.queue[(size_t)b * p.max_faces + (old >> 40)] = make_uint2(f, (u32)old);
    }
    u64 *image = p.nearest + (size_t)b * p.height * p.width;
    int pixels = o.kind == SMALL ? area(o.hard) : 0;
    if (pixels > 0 && pixels <= SERIAL_AREA)
        for (int y = o.hard.top; y <= o.hard.bottom; y++)
            for (int x = o.hard.left; x <= o.hard.right; x++)
                draw(o, x, y, f, image + (size_t)y * p.width);
    for (u32 todo = __ballot_sync(ALL, pixels > SERIAL_AREA); todo; todo &= todo - 1) {
        int from = __ffs(todo) - 1;  // the whole warp draws this lane's face
        Shape c;
        for (int n = 0; n < 3; n++) {
            c.x[n] = __shfl_sync(ALL, o.x[n], from);
            c.y[n] = __shfl_sync(ALL, o.y[n], from);
            c.iz[n] = __shfl_sync(ALL, o.iz[n], from);
        }
        Box box = broadcast(o.hard, from);
        int face = __shfl_sync(ALL, f, from);
        for (int y = box.top + (lane >> 3); y <= box.bottom; y += 4)
            for (int x = box.left + (lane & 7); x <= box.right; x += 8)
                draw(c, x, y, face, image + (size_t)y * p.width);
    }
}

// Walks the tiles of an item's queued faces; a warp takes a run of neighbouring ones.
struct Tiles {
    const uint2 *queue;
    u64 at, end;
    int entry, count, tx, ty;
    Box box;

    __device__ void start(const Params &p, int b, u64 queued, int worker, int workers) {
        u64 total = queued & ((1ull << 40) - 1);
        queue = p.queue + (size_t)b * p.max_faces;
        count = (int)(queued >> 40);
        at = total * worker / workers, end = total * (worker + 1) / workers;
        int low = 0, high = count;  // the last entry that begins at or before `at`
        while (high - low > 1) {
            int middle = (low + high) / 2;
            if (queue[middle].y <= at) low = middle; else high = middle;
        }
        entry = low - 1;
    }
    // Go to tile `at`; fills `o` where a new face begins, or always.
    __device__ bool next(const Params &p, const Item &s, Shape &o, int &f, bool always = false) {
        if (at >= end) return false;
        bool moved = false;
        while (entry + 1 < count && queue[entry + 1].y <= at) entry++, moved = true;
        if (moved || always) {
            f = queue[entry].x;
            project(p, s, f, o);
            box = joined(o);
        }
        int n = (int)(at - queue[entry].y), across = (box.right >> 5) - (box.left >> 5) + 1;
        tx = ((box.left >> 5) + n % across) << 5, ty = ((box.top >> 5) + n / across) << 5;
        at++;
        return true;
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK) visibility_large(const __grid_constant__ Params p) {
    __shared__ Item s;
    int b = blockIdx.y, lane = threadIdx.x & 31;
    u64 queued = p.queued[b];
    if (queued == 0) return;
    load_item(s, p, b);
    u64 *image = p.nearest + (size_t)b * p.height * p.width;
    Tiles tiles;
    Shape o;
    int f = 0;
    tiles.start(p, b, queued, blockIdx.x * (BLOCK / 32) + threadIdx.x / 32, gridDim.x * (BLOCK / 32));
    while (tiles.next(p, s, o, f)) {
        int x = tiles.tx + lane;
        int top = max(tiles.ty, o.hard.top), bottom = min(tiles.ty + 31, o.hard.bottom);
        bool within = x >= o.hard.left && x <= o.hard.right;
        if (o.kind == LARGE) {
            // leave out a tile that lies wholly beyond one edge: lanes 0..11 test a corner each
            float e[3];
            covers(o, tiles.tx + (lane & 1) * 32.f, tiles.ty + (lane >> 1 & 1) * 32.f, e);
            float sign = e[0] + e[1] + e[2] < 0 ? -1.f : 1.f;
            int which = lane >> 2;
            float mine = which == 0 ? e[0] : which == 1 ? e[1] : e[2];
            u32 out = __ballot_sync(ALL, lane < 12 && sign * mine < 0);
            if ((out & 15u) == 15u || (out >> 4 & 15u) == 15u || (out >> 8 & 15u) == 15u) continue;
            for (int y = top; within && y <= bottom; y++)
                draw(o, x, y, f, image + (size_t)y * p.width);
        } else if (within) {
            int c[3];
            float v[3][3];
            corners_of(p, s, f, c);
            for (int n = 0; n < 3; n++) to_camera(p, s, c[n], v[n]);
            for (int y = top; y <= bottom; y++) {
                double dy = (y + 0.5 - s.cy) / s.fy, dx = (x + 0.5 - s.cx - s.skew * dy) / s.fx, w[3];
                crossing_weights(v, dx, dy, w);
                double iz = w[0] + w[1] + w[2];
                if (w[0] >= 0 && w[1] >= 0 && w[2] >= 0 && iz > 0 && iz * p.near <= 1)
                    put(image + (size_t)y * p.width + x, (float)iz, f);
            }
        }
    }
}
