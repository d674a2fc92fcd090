// Colour and depth of covered pixels.

#define SHADE_BLOCKS 5

struct Hit {  // a face under a pixel
    int corner[3];  // vertex numbers within all models
    float bary[3], z, dx, dy;
    float e1[3], e2[3], n[3];  // edges from corner 0 and their cross product, camera frame
};

__device__ __forceinline__ void cross3(const float *a, const float *b, float *o) {
    o[0] = a[1] * b[2] - a[2] * b[1];
    o[1] = a[2] * b[0] - a[0] * b[2];
    o[2] = a[0] * b[1] - a[1] * b[0];
}

__device__ __forceinline__ float dot3(const float *a, const float *b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

__device__ __forceinline__ void hit_face(
    const Params &p, const Item &s, const int (&corner)[3], int column, int row, Hit &h) {
    float w[3][3], v[3][3], x = column + 0.5f, y = row + 0.5f;
    for (int n = 0; n < 3; n++) {
        h.corner[n] = s.first_vertex + corner[n];
        turned_vertex(p, s, corner[n], w[n]);
        for (int k = 0; k < 3; k++) v[n][k] = w[n][k] + s.t[k];
    }
    h.dy = (y - s.cy) / s.fy, h.dx = (x - s.cx - s.skew * h.dy) / s.fx;
    if (v[0][2] >= p.near && v[1][2] >= p.near && v[2][2] >= p.near) {
        float px[3], py[3], iz[3], e[3];
        for (int n = 0; n < 3; n++) {
            iz[n] = 1.f / v[n][2];
            px[n] = fmaf(fmaf(s.fx, v[n][0], s.skew * v[n][1]), iz[n], s.cx) - x;
            py[n] = fmaf(s.fy * v[n][1], iz[n], s.cy) - y;
        }
        for (int n = 0; n < 3; n++) {
            int j = (n + 1) % 3, k = (n + 2) % 3;
            e[n] = edge(px[j], py[j], px[k], py[k]);
            h.bary[n] = e[n] * iz[n];
        }
        float scale = 1.f / (h.bary[0] + h.bary[1] + h.bary[2]);
        h.z = (e[0] + e[1] + e[2]) * scale;
        for (int n = 0; n < 3; n++) h.bary[n] *= scale;
    } else {
        double weight[3];
        float corners[3][3];  // a copy, so that v itself stays in registers
        for (int n = 0; n < 9; n++) corners[n / 3][n % 3] = v[n / 3][n % 3];
        crossing_weights(corners, h.dx, h.dy, weight);
        double z = 1.0 / (weight[0] + weight[1] + weight[2]);
        h.z = (float)z;
        for (int n = 0; n < 3; n++) h.bary[n] = (float)(weight[n] * z);
    }
    // edges without the distance to the camera: differences of small numbers keep their digits
    for (int k = 0; k < 3; k++) h.e1[k] = w[1][k] - w[0][k], h.e2[k] = w[2][k] - w[0][k];
    cross3(h.e1, h.e2, h.n);
}

__device__ __forceinline__ void mixed(const Hit &h, const float4 (&of)[3], float *out) {
    out[0] = h.bary[0] * of[0].x + h.bary[1] * of[1].x + h.bary[2] * of[2].x;
    out[1] = h.bary[0] * of[0].y + h.bary[1] * of[1].y + h.bary[2] * of[2].y;
    out[2] = h.bary[0] * of[0].z + h.bary[1] * of[1].z + h.bary[2] * of[2].z;
}

// Adds `share` of one mip level at (u, v), repeating: c = colour, cu and cv = its derivatives.
__device__ __forceinline__ void bilinear(
    const Params &p, const int *level, float u, float v, float share, float *c, float *cu,
    float *cv) {
    int first = level[0], w = level[1], h = level[2];
    float x = u * w - 0.5f, y = (1.f - v) * h - 0.5f, x0 = floorf(x), y0 = floorf(y);
    float fx = x - x0, fy = y - y0;
    int c0 = (int)(x0 - floorf(x0 / w) * w), r0 = (int)(y0 - floorf(y0 / h) * h);
    c0 = min(max(c0, 0), w - 1), r0 = min(max(r0, 0), h - 1);
    int c1 = c0 + 1 == w ? 0 : c0 + 1, r1 = r0 + 1 == h ? 0 : r0 + 1;
    int t00 = p.texels[first + r0 * w + c0], t01 = p.texels[first + r0 * w + c1];
    int t10 = p.texels[first + r1 * w + c0], t11 = p.texels[first + r1 * w + c1];
    for (int n = 0; n < 3; n++) {
        int shift = 8 * n;
        float a = (t00 >> shift & 255) / 255.f, b = (t01 >> shift & 255) / 255.f;
        float d = (t10 >> shift & 255) / 255.f, e = (t11 >> shift & 255) / 255.f;
        float top = a + (b - a) * fx, low = d + (e - d) * fx;
        c[n] += share * (top + (low - top) * fy);
        cu[n] += share * w * ((b - a) * (1.f - fy) + (e - d) * fy);
        cv[n] -= share * h * (low - top);
    }
}

// Trilinear texture at a hit. A pixel covers z^2 |n| / (|n.d| fx fy) of the face's plane.
__device__ __noinline__ void texture(
    const Params &p, const Item &s, int f, const Hit &h, float *c, float *cu, float *cv) {
    const float *uv = p.uv + 6 * (size_t)(s.first_face + f);
    const int *mips = p.mips + 3 * LEVELS * s.model;
    float u = h.bary[0] * uv[0] + h.bary[1] * uv[2] + h.bary[2] * uv[4];
    float v = h.bary[0] * uv[1] + h.bary[1] * uv[3] + h.bary[2] * uv[5];
    float texels = fabsf((uv[2] - uv[0]) * (uv[5] - uv[1]) - (uv[3] - uv[1]) * (uv[4] - uv[0]));
    texels *= (float)mips[1] * mips[2];
    float facing = fmaxf(fabsf(h.n[0] * h.dx + h.n[1] * h.dy + h.n[2]), 1e-30f);
    float level = 0.5f * log2f(fmaxf(texels * h.z * h.z / (facing * s.fx * s.fy), 1e-12f));
    level = fminf(fmaxf(level, 0.f), s.levels - 1.f);
    int fine = min((int)level, max(s.levels - 2, 0));
    float share = level - fine;
    for (int n = 0; n < 3; n++) c[n] = cu[n] = cv[n] = 0.f;
    bilinear(p, mips + 3 * fine, u, v, 1.f - share, c, cu, cv);
    if (share > 0.f) bilinear(p, mips + 3 * (fine + 1), u, v, share, c, cu, cv);
}

// `Shading`'s equation (shading.py).
__device__ __noinline__ void light(const Params &p, const Item &s, int b, const Hit &h, float *c) {
    float flat[3], normal[3] = {0.f, 0.f, 0.f}, d[3] = {h.dx, h.dy, 1.f};
    float scale = rsqrtf(dot3(h.n, h.n));
    for (int n = 0; n < 3; n++) flat[n] = h.n[n] * scale;
    for (int n = 0; n < 3; n++) {
        const float *at = p.normals + 3 * (size_t)h.corner[n];
        float m[3];
        rotate(s, at[0], at[1], at[2], m);
        const float *use = dot3(flat, m) < CREASE_COS ? flat : m;
        for (int k = 0; k < 3; k++) normal[k] += h.bary[n] * use[k];
    }
    scale = (dot3(flat, d) > 0 ? -1.f : 1.f) / fmaxf(sqrtf(dot3(normal, normal)), 1e-12f);
    for (int k = 0; k < 3; k++) normal[k] *= scale;
    scale = -rsqrtf(dot3(d, d));
    const float *l = p.light + (size_t)b * p.light_size;
    float diffuse[3] = {l[0], l[1], l[2]}, shine[3] = {0.f, 0.f, 0.f};
    for (int n = 5; n < p.light_size; n += 6) {
        float facing = dot3(normal, l + n);
        if (facing <= 0) continue;
        float half[3];
        for (int k = 0; k < 3; k++) half[k] = d[k] * scale + l[n + k];
        float halfway = dot3(normal, half) / fmaxf(sqrtf(dot3(half, half)), 1e-12f);
        float power = halfway > 0 ? powf(halfway, l[4]) : 0.f;
        for (int k = 0; k < 3; k++) {
            diffuse[k] += facing * l[n + 3 + k];
            shine[k] += power * l[n + 3 + k];
        }
    }
    for (int k = 0; k < 3; k++) c[k] = __saturatef(c[k] * diffuse[k] + l[3] * shine[k]);
}

// A block shades 32x8 pixels, a row of them per warp.
extern "C" __global__ void __launch_bounds__(BLOCK, SHADE_BLOCKS)
shade(const __grid_constant__ Params p) {
    __shared__ Item s;
    __shared__ u32 opened[BLOCK / 32];
    int b = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    int word = blockIdx.x % p.words, strip = blockIdx.x / p.words;
    int row = strip * 8 + warp, column = word * 32 + lane;
    bool real = row < p.height && column < p.width;
    size_t plane = (size_t)p.height * p.width, at = (size_t)row * p.width + column;
    u64 key = real ? p.nearest[b * plane + at] : 0;
    load_item(s, p, b);
    if (p.soft) {
        u32 open = __ballot_sync(ALL, real && key == 0);
        if (lane == 0) {
            opened[warp] = open;
            if (row < p.height) p.uncovered[((size_t)b * p.height + row) * p.words + word] = open;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            u32 any = 0;
            for (int n = 0; n < BLOCK / 32; n++) any |= opened[n];
            int bits = !!(any & 0xff) | !!(any & 0xff00) << 1 | !!(any & 0xff0000) << 2 |
                       !!(any & 0xff000000) << 3;
            p.open[((size_t)b * ((p.height + 7) / 8) + strip) * p.words + word] = bits;
        }
    }
    if (!real) return;
    float c[3] = {0.f, 0.f, 0.f}, z = 0.f;
    int f = -1;
    if (key) {
        f = (int)~(u32)key;
        int corner[3];
        corners_of(p, s, f, corner);
        float4 paint[3];
        if (!FULL || !s.levels)
            for (int n = 0; n < 3; n++)
                paint[n] = p.attributes[2 * ((size_t)s.first_vertex + corner[n]) + 1];
        Hit h;
        hit_face(p, s, corner, column, row, h);
        z = h.z;
        if (FULL && s.levels) {
            float color[3], cu[3], cv[3];
            Hit copy = h;  // h itself stays in registers
            texture(p, s, f, copy, color, cu, cv);
            for (int n = 0; n < 3; n++) c[n] = color[n];
        } else {
            mixed(h, paint, c);
        }
        if (FULL && p.light_size) {
            Hit copy = h;
            float lit[3] = {c[0], c[1], c[2]};
            light(p, s, b, copy, lit);
            for (int n = 0; n < 3; n++) c[n] = lit[n];
        }
    }
    for (int n = 0; n < 3; n++) p.rgb[(3 * (size_t)b + n) * plane + at] = c[n];
    p.depth[b * plane + at] = z;
    p.mask[b * plane + at] = key ? 1.f : 0.f;
    p.face_id[b * plane + at] = f;
}
