"""The trained encoder and decoders, loaded, saved and used as every WaveNet autoencoder is."""

from retimbre.nn.wavenet_autoencoder.system import CodedAudio


class System(CodedAudio):
    """One encoder, a decoder for every instrument: a code is played on whichever decoder it is given to."""
