// Gradients to the pose, and where asked for to K, vertices and colours; see cpu/backward.py.

#define BACK_BLOCKS 3
#define SHARE 4  // touching faces that a warp takes at least

struct Sums {  // ds (dt) and dR of one thread, then of one block
    float t[3], R[9];
};

__device__ __forceinline__ void add_point(Sums &o, const float *q, const float *x) {
    for (int i = 0; i < 3; i++) {
        o.t[i] += q[i];
        for (int j = 0; j < 3; j++) o.R[3 * i + j] = fmaf(q[i], x[j], o.R[3 * i + j]);
    }
}

// Camera-frame gradient `scale` q of vertex `at`, to the model frame.
__device__ __forceinline__ void add_vertex(
    const Params &p, const Item &s, size_t at, float scale, const float *q) {
    for (int j = 0; j < 3; j++)
        atomicAdd(p.g_vertices + 3 * at + j,
                  scale * (s.R[j] * q[0] + s.R[3 + j] * q[1] + s.R[6 + j] * q[2]));
}

__device__ __forceinline__ float dot3(const float *a, const float4 &b) {
    return a[0] * b.x + a[1] * b.y + a[2] * b.z;
}

__device__ __forceinline__ void covered_pixel(
    const Params &p, const Item &s, int b, int f, int column, int row, Sums &sums) {
    size_t plane = (size_t)p.height * p.width, at = (size_t)row * p.width + column;
    // everything that does not wait for the hit is asked for first
    int corner[3];
    corners_of(p, s, f, corner);
    float along = p.g_depth ? p.g_depth[b * plane + at] : 0.f, g[3];
    if (p.g_rgb)
        for (int n = 0; n < 3; n++) g[n] = p.g_rgb[(3 * (size_t)b + n) * plane + at];
    float4 paint[3], place[3];
    for (int n = 0; n < 3; n++) {
        const float4 *of = p.attributes + 2 * ((size_t)s.first_vertex + corner[n]);
        place[n] = of[0];
        if (p.g_rgb && (!FULL || !s.levels)) paint[n] = of[1];
    }
    Hit h;
    hit_face(p, s, corner, column, row, h);
    float square = dot3(h.n, h.n), facing = h.n[0] * h.dx + h.n[1] * h.dy + h.n[2];
    if (!(square > 0) || facing == 0) return;
    float slope[3] = {0.f, 0.f, 0.f};
    if (p.g_rgb) {
        float gb[3];
        if (FULL && s.levels) {
            float c[3], cu[3], cv[3];
            Hit copy = h;  // h itself stays in registers
            texture(p, s, f, copy, c, cu, cv);
            float gu = dot3(g, cu), gv = dot3(g, cv);
            const float *uv = p.uv + 6 * (size_t)(s.first_face + f);
            for (int n = 0; n < 3; n++) gb[n] = gu * uv[2 * n] + gv * uv[2 * n + 1];
        } else {
            for (int n = 0; n < 3; n++) gb[n] = dot3(g, paint[n]);
            if (FULL && p.g_colors)
                for (int n = 0; n < 3; n++)
                    for (int k = 0; k < 3; k++)
                        atomicAdd(p.g_colors + 3 * (size_t)h.corner[n] + k, h.bary[n] * g[k]);
        }
        // sum_k gb_k (edge opposite to k), the edges being e2 - e1, -e2, e1
        float e[3];
        for (int n = 0; n < 3; n++)
            e[n] = (gb[2] - gb[0]) * h.e1[n] + (gb[0] - gb[1]) * h.e2[n];
        cross3(h.n, e, slope);
        for (int n = 0; n < 3; n++) slope[n] /= square;
    }
    along = (along + slope[0] * h.dx + slope[1] * h.dy + slope[2]) / facing;
    float q[3], x[3];
    for (int n = 0; n < 3; n++) q[n] = along * h.n[n] - slope[n];
    mixed(h, place, x);
    add_point(sums, q, x);
    if (FULL && p.g_vertices)
        for (int n = 0; n < 3; n++) add_vertex(p, s, h.corner[n], h.bary[n], q);
}

// Projected corners as far as gradients need them: 1 / z, x / z, y / z and the model's vertex.
struct Corners { float2 of[3][3]; };

__device__ __forceinline__ void corners_for(const Params &p, const Item &s, int f, Corners &o) {
    int c[3];
    corners_of(p, s, f, c);
    for (int n = 0; n < 3; n++) {
        float v[3];
        to_camera(p, s, c[n], v);
        float inverse = 1.f / v[2];
        float4 x = p.attributes[2 * ((size_t)s.first_vertex + c[n])];
        o.of[n][0] = make_float2(inverse, v[0] * inverse);
        o.of[n][1] = make_float2(v[1] * inverse, x.x);
        o.of[n][2] = make_float2(x.y, x.z);
    }
}

// Gradient of an uncovered pixel's mask to the two corners of a face's nearest edge.
__device__ __forceinline__ void uncovered_pixel(
    const Params &p, const Item &s, const Outline &o, const Corners &corners, size_t image, int dx,
    int dy, Sums &sums) {
    size_t at = image + __float_as_int(o.c.y) + dy * p.width + dx;
    float seed = p.g_mask[at], free = 1.f - p.mask[at];
    Near n = nearest_of(p, o, dx, dy);
    float d = n.d2 * p.sigma_inv;
    if (seed == 0 || d <= FLOOR || d >= 30.f) return;
    float hit = __expf(-d);
    // the product of the other faces' misses; at most 1
    float others = fminf(__fdividef(free, miss_of(d, hit)), 1.f);
    float scale = -2.f * seed * p.sigma_inv * hit * others;
    float gx = scale * n.x * (2.f / p.width), gy = scale * n.y * (2.f / p.height);
    for (int end = 0; end < 2; end++) {
        int k = end ? (n.edge == 2 ? 0 : n.edge + 1) : n.edge;
        float2 a = corners.of[k][0], c = corners.of[k][1], e = corners.of[k][2];
        float weight = (end ? n.s : 1.f - n.s) * a.x, ix = weight * gx, iy = weight * gy;
        float q[3] = {ix * s.fx, ix * s.skew + iy * s.fy, 0.f}, x[3] = {c.y, e.x, e.y};
        q[2] = -(q[0] * a.y + q[1] * c.x);
        add_point(sums, q, x);
        if (FULL && p.g_vertices) {
            int c[3];
            corners_of(p, s, __float_as_int(o.c.z), c);
            int vertex = k == 0 ? c[0] : k == 1 ? c[1] : c[2];
            add_vertex(p, s, (size_t)s.first_vertex + vertex, 1.f, q);
        }
    }
}

__device__ __forceinline__ void pixels_backward(
    const Params &p, const Item &s, int b, int block, Sums &sums) {
    const int *ids = p.face_id + (size_t)b * p.height * p.width;
    int n = p.height * p.width, step = p.pixel_blocks * BLOCK, i = block * BLOCK + threadIdx.x;
    for (int f = i < n ? ids[i] : -1; i < n; i += step) {
        int next = i + step < n ? ids[i + step] : -1;
        if (f >= 0) covered_pixel(p, s, b, f, i % p.width, i / p.width, sums);
        f = next;
    }
}

// Touching faces, a few at a time to every warp (block < soft_blocks), and tiles of queued faces.
__device__ __forceinline__ void faces_backward(
    const Params &p, const Item &s, int b, int block, u64 queued, int share, Pairs &warp,
    Corners *corners, Sums &sums) {
    bool small = block < p.soft_blocks;
    int lane = threadIdx.x & 31, f = 0;
    int worker = (small ? block : block - p.soft_blocks) * (BLOCK / 32) + threadIdx.x / 32;
    size_t image = (size_t)b * p.height * p.width;
    Shape o;
    Tiles tiles;
    if (!small) tiles.start(p, b, queued, worker, p.tile_blocks * (BLOCK / 32));
    for (int n = worker * share; small ? n < (int)queued : tiles.next(p, s, o, f, true);
         n += p.soft_blocks * (BLOCK / 32) * share) {
        int count;
        if (small) {
            o.kind = NOTHING;
            if (lane < share && n + lane < (int)queued) {
                f = p.queue[(size_t)(b + 1) * p.max_faces - 1 - n - lane].x;
                project(p, s, f, o);
            }
            count = soft_count(p, b, o);
        } else {
            count = soft_tile(p, o, tiles);
        }
        if (count) warp.outline[lane] = outline_of(p, o, f), corners_for(p, s, f, corners[lane]);
        each_pair(p, b, o.soft, count, warp, [&](int from, int dx, int dy) {
            uncovered_pixel(p, s, warp.outline[from], corners[from], image, dx, dy, sums);
        });
    }
}

// Blocks of an item: `soft_blocks` for touching faces, `tile_blocks` for tiles, others for pixels.
extern "C" __global__ void __launch_bounds__(BLOCK, BACK_BLOCKS)
backward(const __grid_constant__ Params p) {
    __shared__ Item s;
    __shared__ Pairs pairs[BLOCK / 32];
    __shared__ Corners corners[BLOCK];
    __shared__ float shared[BLOCK / 32][12], total[12];
    int b = blockIdx.y, block = blockIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    int tile_block = block - p.soft_blocks, pixel_block = tile_block - p.tile_blocks;
    u64 queued = 0;
    int share = 0;
    if (tile_block < 0) {
        queued = p.touching[b];
        int warps = p.soft_blocks * (BLOCK / 32);
        share = min(max(((int)queued + warps - 1) / warps, SHARE), 32);
        if (block * (BLOCK / 32) * share >= (int)queued) return;
    } else if (pixel_block < 0) {
        queued = p.queued[b];
        if (queued == 0) return;
    }
    load_item(s, p, b);
    Sums sums;
    float *mine = (float *)&sums;
    for (int n = 0; n < 12; n++) mine[n] = 0.f;
    if (pixel_block < 0)
        faces_backward(p, s, b, block, queued, share, pairs[warp], corners + 32 * warp, sums);
    else
        pixels_backward(p, s, b, pixel_block, sums);
    bool any = false;
    for (int n = 0; n < 12; n++) any |= mine[n] != 0;
    if (!__syncthreads_or(any)) return;
    for (int n = 0; n < 12; n++) {
        float v = mine[n];
        for (int k = 16; k; k >>= 1) v += __shfl_down_sync(ALL, v, k);
        if (lane == 0) shared[threadIdx.x / 32][n] = v;
    }
    __syncthreads();
    int n = threadIdx.x;
    if (n < 12) {
        float v = 0.f;
        for (int k = 0; k < BLOCK / 32; k++) v += shared[k][n];
        total[n] = v;
        atomicAdd(n < 3 ? p.g_t + 3 * b + n : p.g_R + 9 * b + n - 3, v);
    }
    if (p.g_K == nullptr) return;
    __syncthreads();
    if (n < 3) {  // A = dR R^T + dt t^T in the camera frame; see camera_gradient in cpu/backend.py
        float a[2];
        for (int i = 0; i < 2; i++)
            a[i] = dot3(total + 3 + 3 * i, s.R + 3 * n) + total[i] * s.t[n];
        float first = a[0] / s.fx;
        atomicAdd(p.g_K + 9 * b + n, first);
        if (n > 0) atomicAdd(p.g_K + 9 * b + 3 + n, (a[1] - s.skew * first) / s.fy);
    }
}
