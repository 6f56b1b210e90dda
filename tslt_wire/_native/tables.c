/* Constant tables (spec appendix A, 5.4), urns, and memory. */
#include <stdlib.h>

#include "internal.h"

const uint32_t tslt_log_table[16] = {
    0x40000000, 0x3D495F45, 0x3AB031B9, 0x383337BB, 0x35D13F32, 0x33892305, 0x3159CA84, 0x2F4228E7, 0x2D413CCC,
    0x2B560FBA, 0x297FB5AA, 0x27BD4C98, 0x260DFC14, 0x2470F4DC, 0x22E57078, 0x216AB0D9};

const uint32_t tslt_coarse[256] = {
    0x80000000, 0x7FA765AC, 0x7F4F08AE, 0x7EF6E8DA, 0x7E9F0606, 0x7E476008, 0x7DEFF6B6, 0x7D98C9E6, 0x7D41D96D,
    0x7CEB2523, 0x7C94ACDD, 0x7C3E7072, 0x7BE86FB9, 0x7B92AA88, 0x7B3D20B6, 0x7AE7D219, 0x7A92BE8A, 0x7A3DE5DF,
    0x79E947EF, 0x7994E491, 0x7940BB9E, 0x78ECCCEC, 0x78991853, 0x78459DAC, 0x77F25CCD, 0x779F5590, 0x774C87CC,
    0x76F9F358, 0x76A7980F, 0x765575C7, 0x76038C5B, 0x75B1DBA1, 0x75606373, 0x750F23AB, 0x74BE1C20, 0x746D4CAC,
    0x741CB528, 0x73CC556D, 0x737C2D55, 0x732C3CB9, 0x72DC8373, 0x728D015D, 0x723DB650, 0x71EEA226, 0x719FC4B9,
    0x71511DE3, 0x7102AD7F, 0x70B47367, 0x70666F76, 0x7018A185, 0x6FCB096F, 0x6F7DA70F, 0x6F307A41, 0x6EE382DE,
    0x6E96C0C2, 0x6E4A33C8, 0x6DFDDBCB, 0x6DB1B8A7, 0x6D65CA37, 0x6D1A1056, 0x6CCE8AE1, 0x6C8339B2, 0x6C381CA6,
    0x6BED3398, 0x6BA27E65, 0x6B57FCE8, 0x6B0DAEFF, 0x6AC39484, 0x6A79AD55, 0x6A2FF94F, 0x69E6784C, 0x699D2A2B,
    0x69540EC8, 0x690B2601, 0x68C26FB1, 0x6879EBB6, 0x683199ED, 0x67E97A34, 0x67A18C67, 0x6759D065, 0x6712460A,
    0x66CAED35, 0x6683C5C3, 0x663CCF91, 0x65F60A7F, 0x65AF7669, 0x6569132F, 0x6522E0AD, 0x64DCDEC3, 0x64970D4E,
    0x64516C2E, 0x640BFB40, 0x63C6BA64, 0x6381A978, 0x633CC85A, 0x62F816EB, 0x62B39508, 0x626F4291, 0x622B1F66,
    0x61E72B64, 0x61A3666D, 0x615FD05E, 0x611C6918, 0x60D9307A, 0x60962665, 0x60534AB7, 0x60109D50, 0x5FCE1E12,
    0x5F8BCCDB, 0x5F49A98B, 0x5F07B404, 0x5EC5EC25, 0x5E8451CF, 0x5E42E4E2, 0x5E01A53F, 0x5DC092C6, 0x5D7FAD59,
    0x5D3EF4D7, 0x5CFE6922, 0x5CBE0A1B, 0x5C7DD7A3, 0x5C3DD19B, 0x5BFDF7E5, 0x5BBE4A61, 0x5B7EC8F1, 0x5B3F7377,
    0x5B0049D4, 0x5AC14BE9, 0x5A827999, 0x5A43D2C6, 0x5A055751, 0x59C7071C, 0x5988E209, 0x594AE7FA, 0x590D18D3,
    0x58CF7474, 0x5891FAC0, 0x5854AB9B, 0x581786E5, 0x57DA8C83, 0x579DBC56, 0x57611642, 0x57249A29, 0x56E847EE,
    0x56AC1F75, 0x5670209F, 0x56344B52, 0x55F89F6F, 0x55BD1CDA, 0x5581C377, 0x55469329, 0x550B8BD3, 0x54D0AD5A,
    0x5495F7A0, 0x545B6A8B, 0x542105FD, 0x53E6C9DA, 0x53ACB607, 0x5372CA67, 0x533906E0, 0x52FF6B54, 0x52C5F7A9,
    0x528CABC3, 0x52538786, 0x521A8AD7, 0x51E1B59A, 0x51A907B4, 0x5170810A, 0x51382181, 0x50FFE8FE, 0x50C7D765,
    0x508FEC9C, 0x50582887, 0x50208B0D, 0x4FE91412, 0x4FB1C37C, 0x4F7A9930, 0x4F439513, 0x4F0CB70C, 0x4ED5FEFF,
    0x4E9F6CD3, 0x4E69006D, 0x4E32B9B4, 0x4DFC988C, 0x4DC69CDC, 0x4D90C68B, 0x4D5B157E, 0x4D25899B, 0x4CF022C9,
    0x4CBAE0EE, 0x4C85C3F1, 0x4C50CBB7, 0x4C1BF828, 0x4BE7492A, 0x4BB2BEA4, 0x4B7E587D, 0x4B4A169B, 0x4B15F8E5,
    0x4AE1FF43, 0x4AAE299B, 0x4A7A77D4, 0x4A46E9D6, 0x4A137F87, 0x49E038D0, 0x49AD1597, 0x497A15C4, 0x4947393E,
    0x49147FEE, 0x48E1E9B9, 0x48AF7689, 0x487D2645, 0x484AF8D5, 0x4818EE21, 0x47E70610, 0x47B5408B, 0x47839D7A,
    0x47521CC5, 0x4720BE54, 0x46EF8210, 0x46BE67E0, 0x468D6FAD, 0x465C9960, 0x462BE4E2, 0x45FB521A, 0x45CAE0F1,
    0x459A9151, 0x456A6322, 0x453A564D, 0x450A6ABA, 0x44DAA053, 0x44AAF701, 0x447B6EAD, 0x444C0740, 0x441CC0A3,
    0x43ED9ABF, 0x43BE957F, 0x438FB0CB, 0x4360EC8C, 0x433248AD, 0x4303C517, 0x42D561B3, 0x42A71E6C, 0x4278FB2B,
    0x424AF7D9, 0x421D1461, 0x41EF50AD, 0x41C1ACA7, 0x41942838, 0x4166C34C, 0x41397DCB, 0x410C57A1, 0x40DF50B8,
    0x40B268F9, 0x4085A050, 0x4058F6A7, 0x402C6BE9};

const uint32_t tslt_fine[256] = {
    0x80000000, 0x7FFFA747, 0x7FFF4E8E, 0x7FFEF5D5, 0x7FFE9D1D, 0x7FFE4465, 0x7FFDEBAE, 0x7FFD92F6, 0x7FFD3A3F,
    0x7FFCE188, 0x7FFC88D1, 0x7FFC301B, 0x7FFBD764, 0x7FFB7EAE, 0x7FFB25F8, 0x7FFACD43, 0x7FFA748D, 0x7FFA1BD8,
    0x7FF9C324, 0x7FF96A6F, 0x7FF911BB, 0x7FF8B906, 0x7FF86053, 0x7FF8079F, 0x7FF7AEEC, 0x7FF75638, 0x7FF6FD85,
    0x7FF6A4D3, 0x7FF64C20, 0x7FF5F36E, 0x7FF59ABC, 0x7FF5420A, 0x7FF4E959, 0x7FF490A8, 0x7FF437F7, 0x7FF3DF46,
    0x7FF38695, 0x7FF32DE5, 0x7FF2D535, 0x7FF27C85, 0x7FF223D6, 0x7FF1CB26, 0x7FF17277, 0x7FF119C9, 0x7FF0C11A,
    0x7FF0686C, 0x7FF00FBD, 0x7FEFB710, 0x7FEF5E62, 0x7FEF05B5, 0x7FEEAD07, 0x7FEE545A, 0x7FEDFBAE, 0x7FEDA301,
    0x7FED4A55, 0x7FECF1A9, 0x7FEC98FD, 0x7FEC4052, 0x7FEBE7A7, 0x7FEB8EFC, 0x7FEB3651, 0x7FEADDA6, 0x7FEA84FC,
    0x7FEA2C52, 0x7FE9D3A8, 0x7FE97AFF, 0x7FE92256, 0x7FE8C9AC, 0x7FE87104, 0x7FE8185B, 0x7FE7BFB3, 0x7FE7670B,
    0x7FE70E63, 0x7FE6B5BB, 0x7FE65D14, 0x7FE6046C, 0x7FE5ABC6, 0x7FE5531F, 0x7FE4FA78, 0x7FE4A1D2, 0x7FE4492C,
    0x7FE3F087, 0x7FE397E1, 0x7FE33F3C, 0x7FE2E697, 0x7FE28DF2, 0x7FE2354E, 0x7FE1DCA9, 0x7FE18405, 0x7FE12B61,
    0x7FE0D2BE, 0x7FE07A1B, 0x7FE02178, 0x7FDFC8D5, 0x7FDF7032, 0x7FDF1790, 0x7FDEBEEE, 0x7FDE664C, 0x7FDE0DAA,
    0x7FDDB509, 0x7FDD5C68, 0x7FDD03C7, 0x7FDCAB26, 0x7FDC5285, 0x7FDBF9E5, 0x7FDBA145, 0x7FDB48A6, 0x7FDAF006,
    0x7FDA9767, 0x7FDA3EC8, 0x7FD9E629, 0x7FD98D8B, 0x7FD934EC, 0x7FD8DC4E, 0x7FD883B1, 0x7FD82B13, 0x7FD7D276,
    0x7FD779D9, 0x7FD7213C, 0x7FD6C89F, 0x7FD67003, 0x7FD61767, 0x7FD5BECB, 0x7FD5662F, 0x7FD50D94, 0x7FD4B4F9,
    0x7FD45C5E, 0x7FD403C3, 0x7FD3AB29, 0x7FD3528E, 0x7FD2F9F4, 0x7FD2A15B, 0x7FD248C1, 0x7FD1F028, 0x7FD1978F,
    0x7FD13EF6, 0x7FD0E65E, 0x7FD08DC5, 0x7FD0352D, 0x7FCFDC96, 0x7FCF83FE, 0x7FCF2B67, 0x7FCED2D0, 0x7FCE7A39,
    0x7FCE21A2, 0x7FCDC90C, 0x7FCD7076, 0x7FCD17E0, 0x7FCCBF4A, 0x7FCC66B5, 0x7FCC0E20, 0x7FCBB58B, 0x7FCB5CF6,
    0x7FCB0462, 0x7FCAABCD, 0x7FCA5339, 0x7FC9FAA6, 0x7FC9A212, 0x7FC9497F, 0x7FC8F0EC, 0x7FC89859, 0x7FC83FC7,
    0x7FC7E734, 0x7FC78EA2, 0x7FC73611, 0x7FC6DD7F, 0x7FC684EE, 0x7FC62C5D, 0x7FC5D3CC, 0x7FC57B3B, 0x7FC522AB,
    0x7FC4CA1B, 0x7FC4718B, 0x7FC418FB, 0x7FC3C06C, 0x7FC367DD, 0x7FC30F4E, 0x7FC2B6BF, 0x7FC25E30, 0x7FC205A2,
    0x7FC1AD14, 0x7FC15487, 0x7FC0FBF9, 0x7FC0A36C, 0x7FC04ADF, 0x7FBFF252, 0x7FBF99C6, 0x7FBF4139, 0x7FBEE8AD,
    0x7FBE9021, 0x7FBE3796, 0x7FBDDF0A, 0x7FBD867F, 0x7FBD2DF5, 0x7FBCD56A, 0x7FBC7CE0, 0x7FBC2455, 0x7FBBCBCC,
    0x7FBB7342, 0x7FBB1AB8, 0x7FBAC22F, 0x7FBA69A6, 0x7FBA111E, 0x7FB9B895, 0x7FB9600D, 0x7FB90785, 0x7FB8AEFD,
    0x7FB85676, 0x7FB7FDEF, 0x7FB7A568, 0x7FB74CE1, 0x7FB6F45A, 0x7FB69BD4, 0x7FB6434E, 0x7FB5EAC8, 0x7FB59242,
    0x7FB539BD, 0x7FB4E138, 0x7FB488B3, 0x7FB4302F, 0x7FB3D7AA, 0x7FB37F26, 0x7FB326A2, 0x7FB2CE1E, 0x7FB2759B,
    0x7FB21D18, 0x7FB1C495, 0x7FB16C12, 0x7FB11390, 0x7FB0BB0E, 0x7FB0628C, 0x7FB00A0A, 0x7FAFB188, 0x7FAF5907,
    0x7FAF0086, 0x7FAEA805, 0x7FAE4F85, 0x7FADF704, 0x7FAD9E84, 0x7FAD4605, 0x7FACED85, 0x7FAC9506, 0x7FAC3C86,
    0x7FABE408, 0x7FAB8B89, 0x7FAB330B, 0x7FAADA8C, 0x7FAA820F, 0x7FAA2991, 0x7FA9D113, 0x7FA97896, 0x7FA92019,
    0x7FA8C79D, 0x7FA86F20, 0x7FA816A4, 0x7FA7BE28};

static unsigned share_of(unsigned exact) {
  unsigned smaller = exact < 2048 ? exact : exact < 4096 ? 4095 - exact : 0; /* 4096: all of it */
  if (exact < 4096 && smaller >= 64)
    return (exact & ~63u) | 32;
  unsigned rounded = smaller > 1 ? 3u << bit_length(smaller) >> 2 : 1;
  return exact < 2048 ? rounded : 4096 - rounded;
}

tslt_context *tslt_context_new(void) {
  tslt_context *context = calloc(1, sizeof(tslt_context));
  if (!context)
    return NULL;
  unsigned classes = 0;
  for (unsigned exact = 0; exact <= 4096; exact++) {
    unsigned value = share_of(exact);
    if (!classes || context->share_value[classes - 1] != value)
      context->share_value[classes++] = (uint16_t)value;
    context->share_class[exact] = (uint8_t)(classes - 1);
  }
  for (unsigned f = 0; f <= LEAF + 1; f++) {
    context->choose[0][f] = 1;
    for (unsigned n = 1; n <= LEAF; n++)
      context->choose[n][f] = f ? context->choose[n - 1][f - 1] + context->choose[n][f - 1] : 0;
  }
  tslt_make_steps(context);
  return context;
}

void tslt_context_free(tslt_context *context) {
  if (!context)
    return;
  buffer *all[] = {&context->ids,    &context->codes,        &context->weights, &context->parents,  &context->tokens,
                   &context->degrees, &context->first,       &context->depths,  &context->lists,    &context->list_parents,
                   &context->list_of, &context->siblings,    &context->removed, &context->sums,     &context->keys,
                   &context->logits,  &context->picked,      &context->maxima,  &context->masses,   &context->keys32,
                   &context->places,  &context->given_ids,   &context->given_codes};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    free(all[i]->at);
  free(context);
}

void *tslt_reserve(buffer *scratch, size_t count, size_t size) {
  if (count > SIZE_MAX / 2 / size)
    return NULL;
  size_t bytes = count * size;
  if (bytes > scratch->bytes || !scratch->at) {
    size_t wanted = bytes < 4096 ? 4096 : bytes + bytes / 4;
    void *grown = realloc(scratch->at, wanted);
    if (!grown)
      return NULL;
    scratch->at = grown;
    scratch->bytes = wanted;
  }
  return scratch->at;
}

enum { ROOT_BALLS = 6, INNER_BALLS = 20 };

/* Spec [RLIST-4]; nothing exceeds 60 bits (all urns were tried). */
const uint16_t *tslt_make_urn(tslt_context *context, int inner, unsigned share, unsigned n) {
  uint64_t balls = inner ? INNER_BALLS : ROOT_BALLS, part = context->share_value[share];
  uint64_t kind = balls * part, other = balls * (4096 - part);
  uint64_t weights[MAX_URN + 1], total = 0;
  unsigned mode = (unsigned)(n * part >> 12);
  weights[mode] = (uint64_t)1 << 32;
  for (unsigned k = mode; k < n; k++)
    weights[k + 1] =
        weights[k] * ((n - k) * (kind + 4096 * k)) / ((k + 1) * (other + (uint64_t)4096 * (n - k - 1)));
  for (unsigned k = mode; k-- > 0;)
    weights[k] = weights[k + 1] * ((k + 1) * (other + (uint64_t)4096 * (n - k - 1))) / ((n - k) * (kind + 4096 * k));
  for (unsigned k = 0; k <= n; k++)
    total += weights[k];
  uint64_t left = 65536;
  for (unsigned k = 0; k <= n; k++) {
    weights[k] = (weights[k] << 16) / total;
    if (!weights[k])
      weights[k] = 1;
    left -= weights[k]; /* may pass through 0: only the sum with the mode's weight counts */
  }
  weights[mode] += left;
  uint16_t *urn = context->urns[inner][share][n - 1];
  uint64_t sum = 0;
  for (unsigned k = 0; k < URN_SLOTS; k++) {
    sum += k <= n ? weights[k] : 0;
    urn[k] = (uint16_t)(k < n ? sum : UINT16_MAX);
  }
  context->urn_ready[inner][share][n - 1] = 1;
  return urn;
}

/* ---------------------------------------------------------------------------------------------------------- priors */

enum { DENSITY_BIAS = 1024, MAX_TABLE_CODE = 240 };

void tslt_uniform_starts(uint32_t vocab_size, int64_t *starts) {
  for (uint32_t id = 0; id <= vocab_size; id++)
    starts[id] = id;
}

void tslt_density_starts(uint32_t vocab_size, int64_t *starts) {
  starts[0] = 0;
  for (uint32_t id = 0; id < vocab_size; id++)
    starts[id + 1] = starts[id] + ((int64_t)1 << 30) / (id + DENSITY_BIAS);
}

int tslt_table_starts(uint32_t vocab_size, const uint8_t *codes, int64_t *starts) {
  starts[0] = 0;
  for (uint32_t id = 0; id < vocab_size; id++) {
    if (codes[id] > MAX_TABLE_CODE)
      return TSLT_BAD_ARGUMENT;
    starts[id + 1] = starts[id] + (tslt_log_table[(codes[id] & 7) * 2] >> (codes[id] >> 3));
  }
  return TSLT_OK;
}

tslt_limits tslt_default_limits(void) {
  return (tslt_limits){.max_frame_bytes = (uint64_t)1 << 22,
                       .max_nodes = 1024,
                       .max_depth = 256,
                       .max_entries = (uint64_t)1 << 21,
                       .max_extensions = 16};
}
