/* Loads a SavedModel as TF Serving does, through a session of the C library, and runs it.

   run_saved_model FOLDER INPUT OUTPUT INDEX HEIGHT WIDTH < pixels > values

   INPUT and OUTPUT are names of operations and INDEX is that of the output. Pixels are float32
   [batch, HEIGHT, WIDTH, 3]; the batch is what standard input holds. All float32 of the output are
   written, binary. */
#include <stdio.h>
#include <stdlib.h>
#include <tensorflow/c/c_api.h>

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

static TF_Output find(TF_Graph *graph, const char *name, int index) {
  TF_Output found = {TF_GraphOperationByName(graph, name), index};
  if (found.oper == NULL) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return found;
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  int64_t shape[4] = {0, atoi(argv[5]), atoi(argv[6]), 3};
  const size_t image = shape[1] * shape[2] * 3 * sizeof(float);
  char *pixels = NULL;
  for (;;) {
    pixels = realloc(pixels, (shape[0] + 1) * image);
    if (pixels == NULL) return 3;
    if (fread(pixels + shape[0] * image, 1, image, stdin) != image) break;
    ++shape[0];
  }

  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "loading");

  TF_Output input = find(graph, argv[2], 0), output = find(graph, argv[3], atoi(argv[4]));
  TF_Tensor *given = TF_AllocateTensor(TF_FLOAT, shape, 4, shape[0] * image), *result = NULL;
  for (size_t i = 0; i < shape[0] * image; ++i) ((char *)TF_TensorData(given))[i] = pixels[i];
  TF_SessionRun(session, NULL, &input, &given, 1, &output, &result, 1, NULL, 0, NULL, status);
  check(status, "running");
  fwrite(TF_TensorData(result), 1, TF_TensorByteSize(result), stdout);

  TF_DeleteTensor(given);
  TF_DeleteTensor(result);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  free(pixels);
  return 0;
}
