/* Classifies images with a .tflite of this package through LiteRT's C API.

     run_tflite MODEL THRESHOLD IMAGES [REPEATS]

   IMAGES holds float32 pixels in 0..255, [images, height, width, 3], and nothing else; - is standard
   input. For each image a line is printed: its class, the probability of the class, and the
   multiply-accumulates that the model counted; - where a model does not count. A model without a
   `threshold` takes none. REPEATS, 1 unless given, is how often each image is classified.

     run_tflite --cpu

   prints the instruction sets that this program is shown: kernels are picked by them.

   Link with libLiteRt.so, which lies in the ai_edge_litert package; see export/tflite/native_runner.py. The
   package has no headers, so what is used of the API is declared here. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct LiteRtEnvironmentT *LiteRtEnvironment;
typedef struct LiteRtModelT *LiteRtModel;
typedef struct LiteRtSignatureT *LiteRtSignature;
typedef struct LiteRtTensorT *LiteRtTensor;
typedef struct LiteRtOptionsT *LiteRtOptions;
typedef struct LiteRtOpaqueOptionsT *LiteRtOpaqueOptions;
typedef struct LiteRtCompiledModelT *LiteRtCompiledModel;
typedef struct LiteRtTensorBufferT *LiteRtTensorBuffer;
typedef struct LiteRtTensorBufferRequirementsT *LiteRtRequirements;
/* Element type, rank and dimensions. It is only handed on, so that its content does not matter, nor
   its size, as long as this is no smaller. */
typedef struct {
  uint64_t words[32];
} LiteRtRankedTensorType;
enum { kLiteRtHwAcceleratorCpu = 1 };
enum { kLiteRtTensorBufferLockModeRead = 0, kLiteRtTensorBufferLockModeWrite = 1 };

/* The status is 0 where all went well. */
int LiteRtCreateEnvironment(int options, const void *values, LiteRtEnvironment *);
int LiteRtCreateModelFromFile(LiteRtEnvironment, const char *path, LiteRtModel *);
int LiteRtCreateOptions(LiteRtOptions *);
int LiteRtSetOptionsHardwareAccelerators(LiteRtOptions, int set);
int LiteRtCreateOpaqueOptions(const char *kind, void *text, void (*release)(void *),
                              LiteRtOpaqueOptions *);
int LiteRtAddOpaqueOptions(LiteRtOptions, LiteRtOpaqueOptions);
int LiteRtCreateCompiledModel(LiteRtEnvironment, LiteRtModel, LiteRtOptions, LiteRtCompiledModel *);
int LiteRtGetModelSignature(LiteRtModel, size_t index, LiteRtSignature *);
int LiteRtGetNumSignatureInputs(LiteRtSignature, size_t *);
int LiteRtGetNumSignatureOutputs(LiteRtSignature, size_t *);
int LiteRtGetSignatureInputName(LiteRtSignature, size_t index, const char **);
int LiteRtGetSignatureOutputName(LiteRtSignature, size_t index, const char **);
int LiteRtGetSignatureInputTensorByIndex(LiteRtSignature, size_t index, LiteRtTensor *);
int LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature, size_t index, LiteRtTensor *);
int LiteRtGetRankedTensorType(LiteRtTensor, LiteRtRankedTensorType *);
int LiteRtGetCompiledModelInputBufferRequirements(LiteRtCompiledModel, size_t signature,
                                                  size_t index, LiteRtRequirements *);
int LiteRtGetCompiledModelOutputBufferRequirements(LiteRtCompiledModel, size_t signature,
                                                   size_t index, LiteRtRequirements *);
int LiteRtCreateManagedTensorBufferFromRequirements(LiteRtEnvironment,
                                                    const LiteRtRankedTensorType *,
                                                    LiteRtRequirements, LiteRtTensorBuffer *);
int LiteRtGetTensorBufferPackedSize(LiteRtTensorBuffer, size_t *bytes);
int LiteRtLockTensorBuffer(LiteRtTensorBuffer, void **address, int mode);
int LiteRtUnlockTensorBuffer(LiteRtTensorBuffer);
int LiteRtRunCompiledModel(LiteRtCompiledModel, size_t signature, size_t inputs,
                           LiteRtTensorBuffer *, size_t outputs, LiteRtTensorBuffer *);
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel);
void LiteRtDestroyOptions(LiteRtOptions);
void LiteRtDestroyModel(LiteRtModel);
void LiteRtDestroyEnvironment(LiteRtEnvironment);

enum { SIGNATURE = 0, MOST_TENSORS = 8 };

/* The inputs or the outputs of the model: what each is called, and where its values are. */
typedef struct {
  size_t count;
  const char *names[MOST_TENSORS];
  LiteRtTensorBuffer buffers[MOST_TENSORS];
} Tensors;

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "error: %s%s\n", what, detail);
  exit(1);
}

static void check(int status, const char *what) {
  if (status == 0) return;
  fprintf(stderr, "error: LiteRT cannot %s (status %d)\n", what, status);
  exit(1);
}

/* The tensor of this name; NULL where there is none. By name: their order is the converter's own. */
static LiteRtTensorBuffer find(const Tensors *tensors, const char *name) {
  for (size_t i = 0; i < tensors->count; ++i)
    if (strcmp(tensors->names[i], name) == 0) return tensors->buffers[i];
  return NULL;
}

static LiteRtTensorBuffer need(const Tensors *tensors, const char *name) {
  LiteRtTensorBuffer buffer = find(tensors, name);
  if (buffer == NULL) fail("the model has no tensor called ", name);
  return buffer;
}

static size_t size_of(LiteRtTensorBuffer buffer) {
  size_t bytes;
  check(LiteRtGetTensorBufferPackedSize(buffer, &bytes), "tell the size of a tensor");
  return bytes;
}

static void set(LiteRtTensorBuffer buffer, const void *values) {
  void *to;
  check(LiteRtLockTensorBuffer(buffer, &to, kLiteRtTensorBufferLockModeWrite), "lock an input");
  memcpy(to, values, size_of(buffer));
  check(LiteRtUnlockTensorBuffer(buffer), "unlock an input");
}

static void get(LiteRtTensorBuffer buffer, void *values) {
  void *from;
  check(LiteRtLockTensorBuffer(buffer, &from, kLiteRtTensorBufferLockModeRead), "lock an output");
  memcpy(values, from, size_of(buffer));
  check(LiteRtUnlockTensorBuffer(buffer), "unlock an output");
}

static Tensors make_tensors(LiteRtEnvironment environment, LiteRtCompiledModel model,
                            LiteRtSignature signature, int are_inputs) {
  Tensors made;
  check((are_inputs ? LiteRtGetNumSignatureInputs
                    : LiteRtGetNumSignatureOutputs)(signature, &made.count),
        "count tensors");
  if (made.count > MOST_TENSORS) fail("the model has more tensors than expected", "");
  for (size_t i = 0; i < made.count; ++i) {
    LiteRtTensor tensor;
    LiteRtRankedTensorType type;
    LiteRtRequirements requirements;
    check((are_inputs ? LiteRtGetSignatureInputName
                      : LiteRtGetSignatureOutputName)(signature, i, &made.names[i]),
          "name a tensor");
    check((are_inputs ? LiteRtGetSignatureInputTensorByIndex
                      : LiteRtGetSignatureOutputTensorByIndex)(signature, i, &tensor),
          "find a tensor");
    check(LiteRtGetRankedTensorType(tensor, &type), "tell the shape of a tensor");
    check((are_inputs ? LiteRtGetCompiledModelInputBufferRequirements
                      : LiteRtGetCompiledModelOutputBufferRequirements)(model, SIGNATURE, i,
                                                                        &requirements),
          "tell what a tensor needs");
    check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements,
                                                          &made.buffers[i]),
          "allocate a tensor");
  }
  return made;
}

/* Of one thread: these operators are too small to be split. */
static LiteRtOptions make_options(void) {
  LiteRtOptions options;
  LiteRtOpaqueOptions threads;
  char *text = strdup("num_threads = 1\n");
  check(LiteRtCreateOptions(&options), "make options");
  check(LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu), "take the CPU");
  check(LiteRtCreateOpaqueOptions("xnnpack", text, free, &threads), "make options");
  check(LiteRtAddOpaqueOptions(options, threads), "take options");
  return options;
}

/* Classifies the image that was set. Apart and never inlined: what runs in here is what callgrind is
   told to count. */
__attribute__((noinline)) void counted(LiteRtCompiledModel model, Tensors *inputs, Tensors *outputs,
                                       int repeats) {
  for (int i = 0; i < repeats; ++i)
    check(LiteRtRunCompiledModel(model, SIGNATURE, inputs->count, inputs->buffers, outputs->count,
                                 outputs->buffers),
          "run the model");
}

static void print_result(const Tensors *outputs) {
  LiteRtTensorBuffer probabilities = need(outputs, "probabilities"), flops = find(outputs, "flops");
  const size_t classes = size_of(probabilities) / sizeof(float);
  float *values = malloc(classes * sizeof(float)), count;
  if (values == NULL) fail("out of memory", "");
  get(probabilities, values);
  size_t best = 0;
  for (size_t i = 1; i < classes; ++i)
    if (values[i] > values[best]) best = i;
  printf("%zu %.9g ", best, values[best]);
  if (flops == NULL) {
    puts("-");
  } else {
    get(flops, &count);
    printf("%.0f\n", count);
  }
  free(values);
}

static void print_cpu(void) {
#if defined(__x86_64__)
#define PRINT(name) \
  if (__builtin_cpu_supports(name)) puts(name)
  PRINT("sse4.1");
  PRINT("avx");
  PRINT("fma");
  PRINT("avx2");
  PRINT("avx512f");
  PRINT("avx512vnni");
#endif
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--cpu") == 0) {
    print_cpu();
    return 0;
  }
  char *end;
  const float threshold = argc > 2 ? strtof(argv[2], &end) : 0;
  const int repeats = argc > 4 ? atoi(argv[4]) : 1;
  if (argc < 4 || argc > 5 || *argv[2] == '\0' || *end != '\0' || repeats < 1)
    fail("usage: run_tflite MODEL THRESHOLD IMAGES [REPEATS]", "");
  FILE *images = strcmp(argv[3], "-") == 0 ? stdin : fopen(argv[3], "rb");
  if (images == NULL) fail("cannot open ", argv[3]);

  LiteRtEnvironment environment;
  LiteRtModel model;
  LiteRtSignature signature;
  LiteRtCompiledModel compiled;
  LiteRtOptions options = make_options();
  check(LiteRtCreateEnvironment(0, NULL, &environment), "start");
  check(LiteRtCreateModelFromFile(environment, argv[1], &model), "read the model");
  check(LiteRtGetModelSignature(model, SIGNATURE, &signature), "find the model's signature");
  check(LiteRtCreateCompiledModel(environment, model, options, &compiled), "compile the model");
  Tensors inputs = make_tensors(environment, compiled, signature, 1);
  Tensors outputs = make_tensors(environment, compiled, signature, 0);

  LiteRtTensorBuffer image = need(&inputs, "image");
  if (find(&inputs, "threshold")) set(find(&inputs, "threshold"), &threshold);
  const size_t bytes = size_of(image);
  void *pixels = malloc(bytes);
  if (pixels == NULL) fail("out of memory", "");
  size_t done = 0, read;
  while ((read = fread(pixels, 1, bytes, images)) == bytes) {
    set(image, pixels);
    /* Outside of what is counted: the first invocation also allocates. */
    if (done++ == 0)
      check(LiteRtRunCompiledModel(compiled, SIGNATURE, inputs.count, inputs.buffers,
                                   outputs.count, outputs.buffers),
            "run the model");
    counted(compiled, &inputs, &outputs, repeats);
    print_result(&outputs);
  }
  if (read != 0) fail("the images do not end with a whole image of the model's size: ", argv[3]);
  if (done == 0) fail("there are no images in ", argv[3]);

  if (images != stdin) fclose(images);
  free(pixels);
  for (size_t i = 0; i < inputs.count; ++i) LiteRtDestroyTensorBuffer(inputs.buffers[i]);
  for (size_t i = 0; i < outputs.count; ++i) LiteRtDestroyTensorBuffer(outputs.buffers[i]);
  LiteRtDestroyCompiledModel(compiled);
  LiteRtDestroyOptions(options);
  LiteRtDestroyModel(model);
  LiteRtDestroyEnvironment(environment);
  return 0;
}
