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

__device__ __forceinline__ void pixels_backward(
    const Params &p, const Item &s, int b, int block, Sums &sums) {
    const int *ids = p.face_id + (size_t)b * p.height * p.width;
    int lane = threadIdx.x & 31, across = (p.width + 7) / 8, n = across * ((p.height + 3) / 4);
    for (int i = block * (BLOCK / 32) + threadIdx.x / 32; i < n;
         i += p.pixel_blocks * (BLOCK / 32)) {  // 8x4 pixels a warp: they share faces
        int x = i % across * 8 + (lane & 7), y = i / across * 4 + (lane >> 3);
        if (x >= p.width || y >= p.height) continue;
        int f = ids[y * p.width + x];
        if (f >= 0) covered_pixel(p, s, b, f, x, y, sums);
    }
}

// An uncovered pixel's gradient, through the nearest point of a face to the corners of its edge.
__device__ __forceinline__ void uncovered_pixel(
    const Params &p, const Item &s, const Staged &face, int x, int y, float seed, float free,
    Sums &sums) {
    Near n = nearest_point(p, face.x, face.y, x + 0.5f, y + 0.5f);
    float d = n.d2 * p.sigma_inv;
    if (d <= FLOOR || d >= 30.f) return;
    float hit = __expf(-d), others = fminf(free / miss_of(d, hit), 1.f);
    float scale = -2.f * seed * p.sigma_inv * hit * others;
    float gx = scale * n.x * (2.f / p.width), gy = scale * n.y * (2.f / p.height);
    float a = gx * s.fx, c = gx * s.skew + gy * s.fy;
    for (int end = 0; end < 2; end++) {
        int k = end ? (n.edge == 2 ? 0 : n.edge + 1) : n.edge;
        float weight = (end ? n.along : 1.f - n.along) * face.iz[k], q[3];
        q[0] = a * weight, q[1] = c * weight;
        q[2] = -(q[0] * face.u[k] + q[1] * face.v[k]);
        add_point(sums, q, face.model + 3 * k);
        if (p.g_vertices) {
            int corner[3];
            corners_of(p, s, face.face, corner);
            add_vertex(p, s, k == 0 ? corner[0] : k == 1 ? corner[1] : corner[2], 1.f, q);
        }
    }
}

__device__ __forceinline__ void tiles_backward(
    const Params &p, const Item &s, int b, int block, int tiles, Staged *staged, int *count,
    Sums &sums) {
    int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    for (int n = block; n < tiles; n += p.soft_blocks) {
        int tile = p.soft_tiles[(size_t)b * p.tiles + n];
        int x = tile % p.words * 32 + (warp & 3) * 8 + (lane & 7);
        int y = tile / p.words * 8 + (warp >> 2) * 4 + (lane >> 3);
        bool uncovered = x < p.width && y < p.height && is_uncovered(p, b, x, y);
        size_t at = ((size_t)b * p.height + y) * p.width + x;
        float seed = uncovered ? p.g_mask[at] : 0.f, free = uncovered ? 1.f - p.mask[at] : 0.f;
        uncovered = seed != 0 && free > 0;
        each_near_face(p, s, b, tile, x, y, uncovered, staged, count,
            [&](const Staged &face, bool inside) {
                if (inside) uncovered_pixel(p, s, face, x, y, seed, free, sums);
            });
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3) backward(const __grid_constant__ Params p) {
    __shared__ Item s;
    __shared__ float shared[BLOCK / 32][12], total[12];
    __shared__ Staged staged[STAGED];
    __shared__ int count;
    int b = blockIdx.y, block = blockIdx.x - p.pixel_blocks, lane = threadIdx.x & 31;
    int tiles = block >= 0 ? p.counts[p.batch + b] : 0;
    if (block >= tiles) return;
    load_item(s, p, b);
    Sums sums;
    float *mine = (float *)&sums;
    for (int n = 0; n < 12; n++) mine[n] = 0.f;
    if (block < 0)
        pixels_backward(p, s, b, blockIdx.x, sums);
    else
        tiles_backward(p, s, b, block, tiles, staged, &count, sums);
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
