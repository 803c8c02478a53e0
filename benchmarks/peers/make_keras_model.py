"""Writes keras.onnx: a Keras network of random weights, channels last, converted by tf2onnx; in an environment of its own.

    pip install tensorflow-cpu==2.21.0 tf2onnx==1.17.0 && python make_keras_model.py OUT
"""

import pathlib
import sys

import numpy
import tensorflow
import tf2onnx

layers = tensorflow.keras.layers


def network():
    return tensorflow.keras.Sequential([
        layers.Input((20, 20, 3)), layers.Rescaling(2.0, -1.0), layers.ZeroPadding2D(((0, 1), (0, 1))),
        layers.Conv2D(6, 3, 2, use_bias=False), layers.BatchNormalization(), layers.ReLU(6.0),
        layers.DepthwiseConv2D(3, padding='same'), layers.BatchNormalization(), layers.ReLU(),
        layers.Conv2D(8, 3, 2, padding='same'), layers.ReLU(), layers.MaxPooling2D(2, 1), layers.Flatten(),
        layers.Dense(12, 'relu'), layers.Dropout(0.2), layers.Dense(10, 'softmax')])


def main():
    tensorflow.keras.utils.set_random_seed(0)
    net = network()
    net.compile('sgd', 'mse')
    net.fit(numpy.random.rand(64, 20, 20, 3), numpy.random.rand(64, 10), epochs=3, verbose=0)
    signature = [tensorflow.TensorSpec((None, 20, 20, 3), tensorflow.float32, name='input')]
    function = tensorflow.function(lambda x: net(x, training=False), input_signature=signature)
    path = pathlib.Path(sys.argv[1]) / 'keras.onnx'
    tf2onnx.convert.from_function(function, input_signature=signature, opset=15, output_path=str(path))


if __name__ == '__main__':
    main()
