// Multi-scale deformable attention the classic way: one thread for each number of the output. A plain port of the
// scheme of Deformable DETR's kernels, which mmcv and Hugging Face carry; written anew, float32 as theirs.
//
// value (B, S, H, D), shapes (L, 2) height and width, starts (L), locations (B, Q, H, L, P, 2), weights (B, Q, H, L, P),
// output (B, Q, H, D).

extern "C" __global__ void forward(const float *value, const long long *shapes, const long long *starts,
                                   const float *locations, const float *weights, float *output, int count, int tokens,
                                   int heads, int channels, int levels, int queries, int points) {
    for (int index = blockIdx.x * blockDim.x + threadIdx.x; index < count; index += blockDim.x * gridDim.x) {
        const int channel = index % channels;
        const int sampled = index / channels;  // (B, Q, H)
        const int head = sampled % heads;
        const int batch = sampled / heads / queries;
        const int step = heads * channels;
        const float *of_head = value + static_cast<long long>(batch) * tokens * step + head * channels + channel;
        const float *location = locations + static_cast<long long>(sampled) * levels * points * 2;
        const float *weight = weights + static_cast<long long>(sampled) * levels * points;
        float sum = 0;
        for (int level = 0; level < levels; ++level) {
            const int height = shapes[2 * level], width = shapes[2 * level + 1];
            const float *map = of_head + starts[level] * step;
            for (int point = 0; point < points; ++point, location += 2, ++weight) {
                const float x = location[0] * width - 0.5f, y = location[1] * height - 0.5f;
                if (y <= -1 || x <= -1 || y >= height || x >= width) continue;
                const int left = floorf(x), top = floorf(y);
                const float right = x - left, low = y - top;
                const float *pixel = map + (top * width + left) * step;
                float a = 0, b = 0, c = 0, d = 0;
                if (top >= 0 && left >= 0) a = pixel[0];
                if (top >= 0 && left + 1 < width) b = pixel[step];
                if (top + 1 < height && left >= 0) c = pixel[width * step];
                if (top + 1 < height && left + 1 < width) d = pixel[(width + 1) * step];
                sum += *weight * ((a * (1 - right) + b * right) * (1 - low) + (c * (1 - right) + d * right) * low);
            }
        }
        output[index] = sum;
    }
}

// A block is one (batch, query, head), a thread one channel; the gradients of location and weight are summed in
// shared memory by the block's first thread, those of the values by atomic additions.
extern "C" __global__ void backward(const float *gradient, const float *value, const long long *shapes,
                                    const long long *starts, const float *locations, const float *weights,
                                    float *to_value, float *to_locations, float *to_weights, int tokens, int heads,
                                    int levels, int queries, int points) {
    extern __shared__ float shared[];  // 3 numbers of every thread
    const int channels = blockDim.x, channel = threadIdx.x, sampled = blockIdx.x;
    const int head = sampled % heads;
    const int batch = sampled / heads / queries;
    const int step = heads * channels;
    const long long of_head = static_cast<long long>(batch) * tokens * step + head * channels + channel;
    const float upstream = gradient[static_cast<long long>(sampled) * channels + channel];
    long long sample = static_cast<long long>(sampled) * levels * points;
    for (int level = 0; level < levels; ++level) {
        const int height = shapes[2 * level], width = shapes[2 * level + 1];
        const long long map = of_head + starts[level] * step;
        for (int point = 0; point < points; ++point, ++sample) {
            const float x = locations[2 * sample] * width - 0.5f, y = locations[2 * sample + 1] * height - 0.5f;
            const float weight = weights[sample];
            float along_x = 0, along_y = 0, sampled_value = 0;
            if (y > -1 && x > -1 && y < height && x < width) {
                const int left = floorf(x), top = floorf(y);
                const float right = x - left, low = y - top;
                const float share = upstream * weight;
                const long long pixel = map + static_cast<long long>(top * width + left) * step;
                float a = 0, b = 0, c = 0, d = 0;
                if (top >= 0 && left >= 0) {
                    a = value[pixel];
                    atomicAdd(to_value + pixel, share * (1 - low) * (1 - right));
                }
                if (top >= 0 && left + 1 < width) {
                    b = value[pixel + step];
                    atomicAdd(to_value + pixel + step, share * (1 - low) * right);
                }
                if (top + 1 < height && left >= 0) {
                    c = value[pixel + width * step];
                    atomicAdd(to_value + pixel + width * step, share * low * (1 - right));
                }
                if (top + 1 < height && left + 1 < width) {
                    d = value[pixel + (width + 1) * step];
                    atomicAdd(to_value + pixel + (width + 1) * step, share * low * right);
                }
                along_x = ((b - a) * (1 - low) + (d - c) * low) * width * share;
                along_y = ((c - a) * (1 - right) + (d - b) * right) * height * share;
                sampled_value = ((a * (1 - right) + b * right) * (1 - low) + (c * (1 - right) + d * right) * low) * upstream;
            }
            shared[3 * channel] = along_x;
            shared[3 * channel + 1] = along_y;
            shared[3 * channel + 2] = sampled_value;
            __syncthreads();
            if (channel == 0) {
                for (int other = 1; other < channels; ++other) {
                    along_x += shared[3 * other];
                    along_y += shared[3 * other + 1];
                    sampled_value += shared[3 * other + 2];
                }
                to_locations[2 * sample] = along_x;
                to_locations[2 * sample + 1] = along_y;
                to_weights[sample] = sampled_value;
            }
            __syncthreads();
        }
    }
}
