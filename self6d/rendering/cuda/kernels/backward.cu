// Gradients to the pose, and where asked for to K, vertices and colours; see cpu_backward.py.

struct Sums {  // ds (dt) and dR of one thread, then of one block
    float t[3], R[9];
};

__device__ __forceinline__ void add_point(Sums &o, const float *q, const float *x) {
    for (int i = 0; i < 3; i++) {
        o.t[i] += q[i];
        for (int j = 0; j < 3; j++) o.R[3 * i + j] = fmaf(q[i], x[j], o.R[3 * i + j]);
    }
}

// Camera-frame gradient `scale` q of the vertex at `at`, to the model frame.
__device__ __forceinline__ void add_vertex(
    const Params &p, const Item &s, int at, float scale, const float *q) {
    for (int j = 0; j < 3; j++)
        atomicAdd(p.g_vertices + at + j,
                  scale * (s.R[j] * q[0] + s.R[3 + j] * q[1] + s.R[6 + j] * q[2]));
}

__device__ __forceinline__ void covered_pixel(
    const Params &p, const Item &s, int b, int f, int column, int row, Sums &sums) {
    Hit h;
    hit_face(p, s, f, column, row, h);
    size_t plane = (size_t)p.height * p.width, at = (size_t)row * p.width + column;
    float square = dot3(h.n, h.n), facing = h.n[0] * h.dx + h.n[1] * h.dy + h.n[2];
    if (!(square > 0) || facing == 0) return;
    float along = p.g_depth ? p.g_depth[b * plane + at] : 0.f, slope[3] = {0.f, 0.f, 0.f};
    if (p.g_rgb) {
        float g[3], gb[3];
        for (int n = 0; n < 3; n++) g[n] = p.g_rgb[(3 * (size_t)b + n) * plane + at];
        if (s.levels) {
            float c[3], cu[3], cv[3];
            Hit copy = h;  // h itself stays in registers
            texture(p, s, f, copy, c, cu, cv);
            float gu = dot3(g, cu), gv = dot3(g, cv);
            const float *uv = p.uv + 6 * (size_t)(s.first_face + f);
            for (int n = 0; n < 3; n++) gb[n] = gu * uv[2 * n] + gv * uv[2 * n + 1];
        } else {
            for (int n = 0; n < 3; n++) gb[n] = dot3(g, p.colors + h.corner[n]);
            if (p.g_colors)
                for (int n = 0; n < 3; n++)
                    for (int k = 0; k < 3; k++)
                        atomicAdd(p.g_colors + h.corner[n] + k, h.bary[n] * g[k]);
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
    for (int n = 0; n < 3; n++) {
        q[n] = along * h.n[n] - slope[n];
        x[n] = mixed(p.vertices, h, n);
    }
    add_point(sums, q, x);
    if (p.g_vertices)
        for (int n = 0; n < 3; n++) add_vertex(p, s, h.corner[n], h.bary[n], q);
}

// Adds the gradient of an uncovered pixel to the projected corners of one face.
__device__ __forceinline__ void uncovered_pixel(
    const Params &p, const Shape &o, size_t at, int x, int y, float (&g)[6]) {
    float seed = p.g_mask[at];
    if (seed == 0) return;
    Near n = nearest_point(p, o, x + 0.5f, y + 0.5f);
    float d = n.d2 * p.sigma_inv;
    if (d <= FLOOR || d >= 30.f) return;
    float hit = __expf(-d);
    // the product of the other faces' misses; at most 1
    float others = fminf((1.f - p.mask[at]) / miss_of(d, hit), 1.f);
    float scale = -2.f * seed * p.sigma_inv * hit * others;
    float gx = scale * n.x * (2.f / p.width), gy = scale * n.y * (2.f / p.height);
    float w0 = 1.f - n.w1 - n.w2;
    g[0] = fmaf(w0, gx, g[0]), g[1] = fmaf(w0, gy, g[1]);
    g[2] = fmaf(n.w1, gx, g[2]), g[3] = fmaf(n.w1, gy, g[3]);
    g[4] = fmaf(n.w2, gx, g[4]), g[5] = fmaf(n.w2, gy, g[5]);
}

// Gradient g of a face's projected corners, per pixel, to its corners and to the pose.
__device__ __forceinline__ void face_gradient(
    const Params &p, const Item &s, int f, const float (&g)[6], Sums &sums) {
    int c[3];
    corners_of(p, s, f, c);
    for (int n = 0; n < 3; n++) {
        if (g[2 * n] == 0 && g[2 * n + 1] == 0) continue;
        float v[3], q[3];
        to_camera(p, s, c[n], v);
        float inverse = 1.f / v[2];
        q[0] = g[2 * n] * s.fx * inverse;
        q[1] = (g[2 * n] * s.skew + g[2 * n + 1] * s.fy) * inverse;
        q[2] = -(q[0] * v[0] + q[1] * v[1]) * inverse;
        add_point(sums, q, p.vertices + c[n]);
        if (p.g_vertices) add_vertex(p, s, c[n], 1.f, q);
    }
}

__device__ __forceinline__ void pixels_backward(
    const Params &p, const Item &s, int b, int block, Sums &sums) {
    const int *ids = p.face_id + (size_t)b * p.height * p.width;
    int n = p.height * p.width;
    for (int i = block * BLOCK + threadIdx.x; i < n; i += p.pixel_blocks * BLOCK)
        if (ids[i] >= 0) covered_pixel(p, s, b, ids[i], i % p.width, i / p.width, sums);
}

__device__ __forceinline__ void faces_backward(
    const Params &p, const Item &s, int b, int block, int count, Sums &sums) {
    int lane = threadIdx.x & 31, worker = block * (BLOCK / 32) + threadIdx.x / 32;
    size_t image = (size_t)b * p.height * p.width;
    Shape o;
    for (int n = worker; n < count; n += p.soft_blocks * (BLOCK / 32)) {
        int f = touching_face(p, b, n);
        project(p, s, f, o);
        float g[6] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
        for (int y = o.soft.top + (lane >> 3); y <= o.soft.bottom; y += 4)
            for (int x = o.soft.left + (lane & 7); x <= o.soft.right; x += 8)
                if (is_uncovered(p, b, x, y))
                    uncovered_pixel(p, o, image + (size_t)y * p.width + x, x, y, g);
        face_gradient(p, s, f, g, sums);
    }
}

__device__ __forceinline__ void tiles_backward(
    const Params &p, const Item &s, int b, int block, u64 queued, Sums &sums) {
    int lane = threadIdx.x & 31, f = 0;
    size_t image = (size_t)b * p.height * p.width;
    Shape o;
    Tiles tiles;
    o.kind = NOTHING;
    tiles.start(p, b, queued, block * (BLOCK / 32) + threadIdx.x / 32, p.tile_blocks * (BLOCK / 32));
    while (tiles.next(p, s, o, f)) {
        if (o.kind != LARGE || is_far(p, o, tiles.tx, tiles.ty)) continue;
        int x = tiles.tx + lane;
        if (x < o.soft.left || x > o.soft.right) continue;
        float g[6] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
        for (int y = max(tiles.ty, o.soft.top); y <= min(tiles.ty + 31, o.soft.bottom); y++)
            if (is_uncovered(p, b, x, y))
                uncovered_pixel(p, o, image + (size_t)y * p.width + x, x, y, g);
        face_gradient(p, s, f, g, sums);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) backward(const __grid_constant__ Params p) {
    __shared__ Item s;
    __shared__ float shared[BLOCK / 32][12], total[12];
    int b = blockIdx.y, block = blockIdx.x, lane = threadIdx.x & 31;
    int soft_block = block - p.pixel_blocks, tile_block = soft_block - p.soft_blocks;
    u64 queued = tile_block >= 0 ? p.queued[b] : soft_block >= 0 ? p.touching[b] : 0;
    if (tile_block >= 0 && queued == 0) return;
    if (soft_block >= 0 && tile_block < 0 && soft_block * (BLOCK / 32) >= (int)queued) return;
    load_item(s, p, b);
    Sums sums;
    float *mine = (float *)&sums;
    for (int n = 0; n < 12; n++) mine[n] = 0.f;
    if (soft_block < 0)
        pixels_backward(p, s, b, block, sums);
    else if (tile_block < 0)
        faces_backward(p, s, b, soft_block, (int)queued, sums);
    else
        tiles_backward(p, s, b, tile_block, queued, sums);
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
    if (n < 3) {  // A = dR R^T + dt t^T in the camera frame; see camera_gradient in cpu.py
        float a[2];
        for (int i = 0; i < 2; i++)
            a[i] = dot3(total + 3 + 3 * i, s.R + 3 * n) + total[i] * s.t[n];
        float first = a[0] / s.fx;
        atomicAdd(p.g_K + 9 * b + n, first);
        if (n > 0) atomicAdd(p.g_K + 9 * b + 3 + n, (a[1] - s.skew * first) / s.fy);
    }
}
