// What the other kernels share: items, turned vertices, and memory that is added to.

__device__ __forceinline__ void fill_item(Item &s, const Params &p, int b) {
    int i = threadIdx.x;
    if (i < 9) s.R[i] = p.R[9 * b + i];
    if (i < 3) s.t[i] = p.t[3 * b + i];
    if (i == 0) {
        const float *K = p.K + 9 * b;
        s.fx = K[0], s.skew = K[1], s.cx = K[2], s.fy = K[4], s.cy = K[5];
        int m = min(max(p.object_index[b], 0), p.models - 1);
        s.model = m, s.number = b;
        s.first_vertex = p.vertex_offset[m], s.vertices = p.vertex_offset[m + 1] - s.first_vertex;
        s.first_face = p.face_offset[m], s.count = p.face_offset[m + 1] - s.first_face;
        s.levels = p.textured ? p.levels[m] : 0;
    }
    __syncthreads();
}

// Blocks of an item: `vertex_blocks` turn its vertices, the rest packs attributes of all models.
extern "C" __global__ void __launch_bounds__(BLOCK) prepare(const __grid_constant__ Params p) {
    __shared__ Item s;
    int b = blockIdx.y, i = threadIdx.x, vertex = blockIdx.x * BLOCK + i;
    size_t words = (size_t)p.batch * p.height * p.width, step = (size_t)gridDim.x * p.batch * BLOCK;
    ulonglong2 *pairs = (ulonglong2 *)p.nearest;
    for (size_t n = ((size_t)b * gridDim.x + blockIdx.x) * BLOCK + i; n < words / 2; n += step)
        pairs[n] = make_ulonglong2(0, 0);
    if (b == 0 && vertex == 0 && words & 1) p.nearest[words - 1] = 0;
    if ((int)blockIdx.x >= p.vertex_blocks) {
        int at = ((blockIdx.x - p.vertex_blocks) * p.batch + b) * BLOCK + i;
        if (at >= p.all_vertices) return;
        const float *x = p.vertices + 3 * (size_t)at, *c = p.colors + 3 * (size_t)at;
        p.attributes[2 * (size_t)at] = make_float4(x[0], x[1], x[2], 0.f);
        p.attributes[2 * (size_t)at + 1] = make_float4(c[0], c[1], c[2], 0.f);
        return;
    }
    fill_item(s, p, b);
    if (blockIdx.x == 0) {
        if (i < (int)(sizeof(Item) / 4)) ((int *)(p.items + b))[i] = ((int *)&s)[i];
        if (i == 0) p.queued[b] = 0, p.touching[b] = 0;
    }
    if (vertex >= s.vertices) return;
    const float *x = p.vertices + 3 * ((size_t)s.first_vertex + vertex);
    float w[3];
    rotate(s, x[0], x[1], x[2], w);
    p.turned[(size_t)b * p.max_vertices + vertex] = make_float4(w[0], w[1], w[2], 0.f);
}
